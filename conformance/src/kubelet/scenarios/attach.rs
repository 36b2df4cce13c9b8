//! Attach through the kubelet: a container's input and output while it goes on, and its log is whole all the same.

use crate::kubelet::driver::Call;
use crate::kubelet::pod::{LIMIT, Pod, container, wait, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;
use std::time::{Duration, Instant};

/// Pause between two words to one of whom nobody says when it is attached.
const SPEAK_EVERY: Duration = Duration::from_millis(500);

pub fn play(stage: &Stage) -> Verdict {
    let script = "while read word; do echo \"heard $word\"; echo \"loud $word\" >&2; [ \"$word\" = end ] && exit 6; done; sleep 1000";
    let spec = |name: &str, more| {
        let main = with(with(container(stage, "main", script), json!({"stdin": true})), more);
        Pod::ask(stage, name, json!({"restartPolicy": "Never", "containers": [main]}))
    };
    let plain = spec("attach", json!({}))?;
    let terminal = spec("attach-tty", json!({"tty": true}))?;

    plain.ready()?;
    let attach = |pod: &Pod<'_>, flags: &[&str]| {
        let path = pod.path();
        let mut arguments = vec!["attach", "-pod", &path, "-container", "main"];
        arguments.extend(flags);
        stage.call(&arguments)
    };
    let mut first = attach(&plain, &["-stdin"])?;
    first.send("one\n")?;
    first.says("heard one")?;
    first.until("standard error is heard", |heard| heard.stderr.contains("loud one").then_some(()))?;
    // One that only listens hears the same; one that goes away is not missed.
    let second = attach(&plain, &[])?;
    until_heard(&mut first, &second, "two")?;
    drop(second);
    let listens = attach(&plain, &[])?;
    until_heard(&mut first, &listens, "three")?;
    first.send("end\n")?;
    let heard = first.end()?;
    holds("what was heard", &heard.stdout, &["heard one\n", "heard two\n", "heard three\n", "heard end\n"])?;
    holds("what the listener heard", &listens.end()?.stdout, &["heard three\n", "heard end\n"])?;
    let state = plain.ended()?;
    same(
        "exit code of the container",
        state.container("main").and_then(|main| main.end()).map(|end| end.code),
        Some(6),
    )?;
    let log = plain.log("main");
    for word in ["one", "two", "three", "end"] {
        holds("the log", &log, &[&format!("heard {word}\n"), &format!("loud {word}\n")])?;
    }

    terminal.ready()?;
    let mut call = attach(&terminal, &["-stdin", "-tty", "-sizes", "93x31"])?;
    call.send("one\n")?;
    call.says("heard one\r\n")?;
    call.send("end\n")?;
    let code = terminal.ended()?.container("main").and_then(|main| main.end()).map(|end| end.code);
    same("exit code in the terminal", code, Some(6))
}

/// Lets one say a word until another hears it.
fn until_heard(speaker: &mut Call, listener: &Call, word: &str) -> Verdict {
    let (heard, mut spoken): (String, Option<Instant>) = (format!("heard {word}\n"), None);
    let done = wait(LIMIT, || {
        if spoken.is_none_or(|at| at.elapsed() >= SPEAK_EVERY) {
            spoken = Some(Instant::now());
            if let Err(why) = speaker.send(&format!("{word}\n")) {
                return Some(Err(why));
            }
        }
        listener.heard().stdout.contains(&heard).then_some(Ok(()))
    })?;
    done.unwrap_or_else(|| Err(format!("nobody hears {word:?}: {:?}", listener.heard())))
}
