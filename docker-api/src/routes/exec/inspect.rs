//! `GET /exec/{id}/json`

use crate::execs::ExecState;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use serde_json::{Value, json};

pub(crate) fn answer(call: &Call) -> Answered {
    let exec = super::find(&call.app, call.name())?;
    let asked = &exec.asked;
    let (running, pid, code) = match exec.state() {
        ExecState::Created => (false, 0, Value::Null),
        ExecState::Running { pid } => (true, pid, Value::Null),
        ExecState::Ended { pid, code } => (false, pid, json!(code)),
    };
    let (program, arguments) = asked.cmd.split_first().map(|(one, rest)| (one.as_str(), rest)).unwrap_or_default();
    let mut process =
        json!({ "tty": asked.tty, "entrypoint": program, "arguments": arguments, "privileged": asked.privileged });
    if !asked.user.is_empty() {
        process["user"] = json!(asked.user);
    }
    json(&json!({
        "ID": exec.id,
        "Running": running,
        "ExitCode": code,
        "ProcessConfig": process,
        "OpenStdin": asked.attach_stdin,
        "OpenStderr": asked.attach_stderr,
        "OpenStdout": asked.attach_stdout,
        "CanRemove": false,
        "ContainerID": exec.container.as_str(),
        "DetachKeys": asked.detach_keys,
        "Pid": pid,
    }))
}
