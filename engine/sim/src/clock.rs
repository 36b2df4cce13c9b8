//! Time, randomness and tasks of a simulation.

use crate::World;
use orlop_model::Timestamp;
use orlop_model::ports::{Answer, Clock};

impl Clock for World {
    fn now(&self) -> Timestamp {
        World::now(self)
    }

    fn sleep_until(&self, at: Timestamp) -> Answer<'static, ()> {
        let pause = at.since(World::now(self));
        Box::pin(tokio::time::sleep(pause))
    }

    fn random(&self) -> [u8; 32] {
        let mut node = self.node();
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&node.random.next().to_le_bytes());
        }
        bytes
    }

    fn spawn(&self, _name: &'static str, task: Answer<'static, ()>) {
        drop(tokio::spawn(task));
    }
}
