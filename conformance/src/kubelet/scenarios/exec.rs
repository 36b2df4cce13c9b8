//! Exec through the kubelet: both outputs, the exit code, half a close, a terminal that changes its size.

use crate::kubelet::pod::{Pod, container};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;

/// How many bytes go in and come out again: more than any buffer on the way holds.
const MANY_BYTES: usize = 3 << 20;

pub fn play(stage: &Stage) -> Verdict {
    let pod = Pod::ask(stage, "exec", json!({"containers": [container(stage, "main", "sleep 1000")]}))?;
    pod.ready()?;
    let path = pod.path();
    let exec = |flags: &[&str], script: &str| {
        let mut arguments = vec!["exec", "-pod", &path, "-container", "main"];
        arguments.extend(flags);
        arguments.extend(["--", "sh", "-c", script]);
        stage.call(&arguments)
    };

    let heard = exec(&[], "echo out; echo err >&2; exit 7")?.end()?;
    same(
        "outputs and exit code",
        (heard.stdout.as_str(), heard.stderr.as_str(), heard.exit),
        ("out\n", "err\n", Some(7)),
    )?;

    // The end of the input reaches the program, and what it says afterwards still comes.
    let mut call = exec(&["-stdin"], "echo begins; cat; echo after the end")?;
    call.says("begins")?;
    call.send("through and back\n")?;
    call.says("through and back")?;
    call.close();
    let heard = call.end()?;
    same("what came back", heard.stdout.as_str(), "begins\nthrough and back\nafter the end\n")?;
    same("exit code after the half close", heard.exit, Some(0))?;

    let heard = exec(&[], &format!("head -c {MANY_BYTES} /dev/zero | tr '\\0' y"))?.end()?;
    same("many bytes", (heard.stdout.len(), heard.stdout.bytes().all(|byte| byte == b'y')), (MANY_BYTES, true))?;

    let mut call = exec(
        &["-stdin", "-tty", "-sizes", "93x31,121x47"],
        "until [ \"`stty size`\" = '31 93' ]; do sleep 0.1; done; echo first fits; echo ready; \
         until [ \"`stty size`\" = '47 121' ]; do sleep 0.1; done; echo second fits; tty; read word; echo \"heard $word\" >&2; exit 5",
    )?;
    call.says("second fits")?;
    call.send("hello\n")?;
    let heard = call.end()?;
    holds("the terminal's output", &heard.stdout, &["first fits", "/dev/pts/", "heard hello"])?;
    same("exit code in the terminal", heard.exit, Some(5))?;

    let call = exec(&[], "kill -9 $$")?;
    same("exit code of one that is killed", call.end()?.exit, Some(137))?;
    let missing = stage.call(&["exec", "-pod", &path, "-container", "main", "--", "/no/such/program"])?;
    let heard = missing.until("the end", |heard| heard.over.then(|| heard.clone()))?;
    same("whether a missing program succeeds", heard.exit == Some(0), false)
}
