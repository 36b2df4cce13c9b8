//! Failpoints of the daemon: what a variable of its environment wants done around an effect. For tests; in service there are none.
//!
//! `ORLOPD_FAILPOINTS="sandbox.attach:before@2=kill; container.start:after=hold:500"`: rules, separated by semicolons. A rule names
//! an effect (`orlopd --effects` lists them), `before` or `after` it, at which time (`@2` the second, `@*` every; else the first),
//! and what happens: `kill` (SIGKILL of the daemon itself), `stop` (SIGSTOP), `fail`, or `hold:` and milliseconds.

use orlop_model::effect::{Effect, Moment};
use orlop_model::ports::{Failpoints, Verdict};
use orlop_model::{ErrorKind, Failure};
use rustix::process::{Signal, getpid, kill_process};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::warn;

/// The variable that holds the rules.
pub const VARIABLE: &str = "ORLOPD_FAILPOINTS";

/// The rules that were asked for.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

/// One of them.
#[derive(Debug)]
struct Rule {
    effect: Effect,
    moment: Moment,
    /// `None` for every time.
    time: Option<u64>,
    action: Action,
    reached: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Fail,
    Hold(Duration),
}

impl Rules {
    /// Parses what the variable holds; says which rule can't be understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rules = text.split(';').map(str::trim).filter(|rule| !rule.is_empty());
        rules
            .map(|rule| Rule::parse(rule).map_err(|wrong| format!("{rule:?}: {wrong}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let (point, action) = text.split_once('=').ok_or("it has no '='")?;
        let (effect, when) = point.split_once(':').ok_or("it has no ':' between effect and moment")?;
        let (moment, time) = when.split_once('@').unwrap_or((when, "1"));
        let effect = Effect::named(effect).ok_or("no operation has such an effect; orlopd --effects lists them")?;
        let moment = match moment {
            "before" => Moment::Before,
            "after" => Moment::After,
            _ => return Err("the moment is neither before nor after".to_owned()),
        };
        let time = match time {
            "*" => None,
            number => Some(number.parse().map_err(|_| "the time is neither a number nor *")?),
        };
        let action = match action.split_once(':').unwrap_or((action, "")) {
            ("kill", "") => Action::Kill,
            ("stop", "") => Action::Stop,
            ("fail", "") => Action::Fail,
            ("hold", ms) => {
                Action::Hold(Duration::from_millis(ms.parse().map_err(|_| "hold: is followed by no milliseconds")?))
            }
            _ => return Err("the action is none of kill, stop, fail and hold:MS".to_owned()),
        };
        Ok(Self { effect, moment, time, action, reached: AtomicU64::new(0) })
    }

    fn strikes(&self, effect: Effect, moment: Moment) -> bool {
        if (self.effect, self.moment) != (effect, moment) {
            return false;
        }
        let now = self.reached.fetch_add(1, Ordering::Relaxed) + 1;
        self.time.is_none_or(|time| time == now)
    }
}

impl Failpoints for Rules {
    fn reach(&self, effect: Effect, moment: Moment) -> Verdict {
        let Some(rule) = self.0.iter().find(|rule| rule.strikes(effect, moment)) else { return Verdict::Pass };
        warn!(%effect, %moment, action = ?rule.action, "failpoint");
        match rule.action {
            Action::Kill => signal_self(Signal::KILL),
            Action::Stop => signal_self(Signal::STOP),
            Action::Fail => {
                let message = format!("{effect}: a failpoint {moment} it, as {VARIABLE} wants");
                return Verdict::Fail(Failure::new(ErrorKind::Unavailable, message));
            }
            Action::Hold(pause) => return Verdict::Hold(pause),
        }
        Verdict::Pass
    }
}

/// Returns only from a signal that does not end us.
fn signal_self(signal: Signal) {
    if let Err(wrong) = kill_process(getpid(), signal) {
        warn!(error = %wrong, "a failpoint could not signal the daemon");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_at_their_time_and_nowhere_else() {
        let rules = Rules::parse("sandbox.attach:before@2=fail; container.start:after=hold:500;").unwrap();
        let attach = Effect::named("sandbox.attach").unwrap();
        let start = Effect::named("container.start").unwrap();
        assert_eq!(rules.reach(attach, Moment::Before), Verdict::Pass);
        assert_eq!(rules.reach(attach, Moment::After), Verdict::Pass);
        assert!(matches!(rules.reach(attach, Moment::Before), Verdict::Fail(_)));
        assert_eq!(rules.reach(attach, Moment::Before), Verdict::Pass);
        assert_eq!(rules.reach(start, Moment::After), Verdict::Hold(Duration::from_millis(500)));
        assert_eq!(rules.reach(start, Moment::After), Verdict::Pass);
    }

    #[test]
    fn rules_that_make_no_sense_are_refused_with_what_is_wrong() {
        for (text, words) in [
            ("sandbox.attach", "no '='"),
            ("sandbox.attach=kill", "no ':'"),
            ("sandbox.fly:before=kill", "--effects"),
            ("sandbox.attach:during=kill", "neither before nor after"),
            ("sandbox.attach:before@x=kill", "neither a number nor *"),
            ("sandbox.attach:before=explode", "none of kill"),
            ("sandbox.attach:before=hold:long", "milliseconds"),
        ] {
            let wrong = Rules::parse(text).unwrap_err();
            assert!(wrong.contains(words) && wrong.contains(text), "{wrong}");
        }
        assert!(Rules::parse(" ; ").unwrap().is_empty());
    }
}
