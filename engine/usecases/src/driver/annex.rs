//! Another annex for a container: compared, recorded, answered.

use super::{Driver, no_container};
use crate::annex::Annexed;
use orlop_model::ContainerId;
use orlop_model::container_state::ContainerState;
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::record::ContainerAsked;
use tokio::sync::oneshot;

impl Driver {
    pub(super) async fn annex(
        &mut self,
        id: &ContainerId,
        generation: u64,
        annex: Vec<u8>,
        reply: oneshot::Sender<Result<Annexed>>,
    ) {
        let answer = self.replace_annex(id, generation, annex).await;
        // A caller that has left does not mind.
        drop(reply.send(answer));
    }

    async fn replace_annex(&mut self, id: &ContainerId, generation: u64, annex: Vec<u8>) -> Result<Annexed> {
        use ContainerState as S;
        let (asked, cell) = self.containers.get(id).ok_or_else(|| no_container(id))?;
        let refuse = |why: &str| {
            Err(Failure::new(ErrorKind::WrongState, format!("update the annex of container {id}: it is {why}")))
        };
        match &cell.state {
            // Its record is not yet what it is to be.
            S::Creating { .. } => return refuse("still being created"),
            S::Removing(_) | S::Gone { .. } => return refuse("being removed"),
            S::Created { .. } | S::Starting { .. } | S::Running(_) | S::Frozen(_) => {}
            S::Stopping { .. } | S::Lost(_) | S::Exited { .. } => {}
        }
        if asked.annex_generation != generation {
            return Ok(Annexed::Outdated);
        }
        let next = ContainerAsked { annex, annex_generation: generation + 1, ..(**asked).clone() };
        self.record_asked(next).await?;
        Ok(Annexed::Written(generation + 1))
    }
}
