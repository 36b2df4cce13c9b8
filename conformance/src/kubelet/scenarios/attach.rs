//! Attach through the kubelet: a container's input and output while it goes on, and its log is whole all the same.

use crate::kubelet::pod::{Pod, container, with};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;

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
    first.send("two\n")?;
    first.says("heard two")?;
    drop(second);
    let listens = attach(&plain, &[])?;
    first.send("three\n")?;
    first.says("heard three")?;
    first.send("end\n")?;
    let heard = first.end()?;
    holds("what was heard", &heard.stdout, &["heard one\n", "heard end\n"])?;
    drop(listens);
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
