//! `crictl events`, which listens until it is ended: what it printed is looked at in the end.

use crate::script::{Output, Script, Verdict, same};
use orlop_testkit::wait_for;
use serde_json::{Deserializer, Value};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest until the last event is printed.
const PRINTED_LIMIT: Duration = Duration::from_secs(10);
/// The whole life of a pod with one container, which is stopped and removed before the pod is.
const LIFE: [(&str, &str); 8] = [
    ("pod", "CREATED"),
    ("pod", "STARTED"),
    ("container", "CREATED"),
    ("container", "STARTED"),
    ("container", "STOPPED"),
    ("container", "DELETED"),
    ("pod", "STOPPED"),
    ("pod", "DELETED"),
];

/// A crictl that listens. Dropped, it is ended.
pub struct Listener {
    process: Child,
    printed: PathBuf,
}

impl Listener {
    /// Starts it; what it prints goes to a file.
    pub fn start(mut command: Command, printed: PathBuf) -> io::Result<Self> {
        let process = command.stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(Stdio::null()).spawn()?;
        Ok(Self { process, printed })
    }

    /// Ends it once it has heard of the pod's end, and looks at all that it heard of the pod and its container.
    pub fn judge(self, script: &mut Script, pod: &str, container: &str) {
        let heard = || {
            let printed = fs::read_to_string(&self.printed).unwrap_or_default();
            (told(&printed, pod, container).last() == Some(&LIFE[LIFE.len() - 1])).then_some(())
        };
        // In vain or not: the check tells.
        let _ = wait_for(PRINTED_LIMIT, heard);
        let mut show = Command::new("cat");
        show.arg(&self.printed);
        drop(self);
        let judge = |output: &Output| -> Verdict { same("what was told", told(output.text()?, pod, container), LIFE) };
        script.check("crictl events", show, judge);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns what was told of a pod and its container: one JSON object for each event, half of one at the end perhaps.
fn told(printed: &str, pod: &str, container: &str) -> Vec<(&'static str, &'static str)> {
    let events = Deserializer::from_str(printed).into_iter::<Value>().map_while(Result::ok);
    events.filter_map(|event| known(&event, pod, container)).collect()
}

fn known(event: &Value, pod: &str, container: &str) -> Option<(&'static str, &'static str)> {
    let whose = [("pod", pod), ("container", container)].into_iter().find(|(_, id)| event["containerId"] == *id)?.0;
    let what = event["containerEventType"].as_str()?;
    LIFE.into_iter().find(|(who, word)| *who == whose && what == format!("CONTAINER_{word}_EVENT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_others_and_halves_are_passed_over() {
        let printed = r#"{"containerId": "p", "containerEventType": "CONTAINER_CREATED_EVENT"}
            {"containerId": "x", "containerEventType": "CONTAINER_CREATED_EVENT"}
            {"containerId": "c", "containerEventType": "CONTAINER_STOPPED_EVENT"} {"containerId": "c","#;
        assert_eq!(told(printed, "p", "c"), [("pod", "CREATED"), ("container", "STOPPED")]);
    }
}
