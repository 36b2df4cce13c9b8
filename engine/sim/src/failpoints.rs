//! The moments around effects: the daemon may die there, and an effect that is done may be reported as failed.

use crate::{Fault, World};
use orlop_model::effect::{Effect, Moment};
use orlop_model::error::{ErrorKind, Failure};
use orlop_model::ports::{Failpoints, Verdict};

impl Failpoints for World {
    fn reach(&self, effect: Effect, moment: Moment) -> Verdict {
        let mut node = self.node();
        if node.dies_now(self.daemon, |tally| *tally.crashes.entry((effect, moment)).or_default() += 1) {
            return Verdict::Dead;
        }
        let faults = node.faults_per_mille;
        if moment == Moment::After && node.chance(faults) {
            node.tally.hit(Fault::Unanswered);
            let message = format!("{effect}: done, and nobody hears of it, as the simulation wants");
            return Verdict::Fail(Failure::new(ErrorKind::Unavailable, message));
        }
        Verdict::Pass
    }
}
