//! One static pod over a real kubelet, shown step by step. Values are checked, not only shown: a word made up at the start must
//! come out of the log, of an exec through the kubelet, of the page at the pod's address and at a port of the node.

use super::config::NODE_ADDRESS;
use super::pod::{LIMIT, Pod, container, wait, with};
use super::programs::Programs;
use super::stage::Stage;
use crate::script::{Verdict, holds, same};
use crate::subject::Which;
use crate::teller::{made_up_word, tell};
use serde_json::json;
use std::io;
use std::time::Instant;

/// The port of the node that leads to the pod.
const PORT: u16 = 18090;

/// Shows it; returns whether all was as it should be and the host is as it was before.
pub fn run(programs: &Programs) -> io::Result<bool> {
    let stage = Stage::start(Which::Orlop, programs)?;
    let begun = stage.begun;
    let told = format!("kubelet {} over {}", programs.version, stage.runtime().describe());
    tell("start", begun, &format!("{told}, node {NODE_ADDRESS}"));
    let shown = show(&stage);
    let ending = Instant::now();
    let found = stage.end();
    found.iter().for_each(|difference| println!("{difference}"));
    match shown {
        Err(why) => println!("MISMATCH: {why}"),
        Ok(()) if !found.is_empty() => println!("MISMATCH: the machine is not as it was before"),
        Ok(()) => {
            tell("proof", ending, "settings, cgroups, mounts, processes, links, files: as before");
            println!("the whole life took {:.1} s", begun.elapsed().as_secs_f64());
            return Ok(true);
        }
    }
    Ok(false)
}

fn show(stage: &Stage) -> Verdict {
    let word = made_up_word()?;
    println!("{:>10}  {:<18} {word}", "", "the word");
    let script = format!(
        "echo the log says {word}; mkdir /tmp/www; echo the page says {word} > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"
    );
    let main = with(
        container(stage, "web", &script),
        json!({
            "ports": [{"containerPort": 80, "hostPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "timeoutSeconds": 5},
        }),
    );
    let begun = Instant::now();
    let pod = Pod::ask(stage, "demo", json!({"containers": [main]}))?;
    tell("manifest", begun, &format!("demo.json with image {}", stage.image()));
    let state = pod.ready()?;
    tell("pod", begun, &format!("{} is {}, ready, address {}", state.name(), state.phase(), state.address()));
    let log = pod.says("web", &word)?;
    tell("log", begun, log.trim());

    for (what, address, port) in [("page", state.address(), 80), ("host port", NODE_ADDRESS, PORT)] {
        let begun = Instant::now();
        let page = stage.page(address, port, "/index.html")?;
        same("the page", page.trim(), format!("the page says {word}").as_str())?;
        tell(what, begun, &format!("http://{address}:{port}/: {}", page.trim()));
    }
    let begun = Instant::now();
    let said = format!("exec says {word}");
    let heard = stage.call(&["exec", "-pod", &pod.path(), "-container", "web", "--", "echo", &said])?.end()?;
    same("what the exec printed", heard.stdout.trim(), said.as_str())?;
    tell("exec", begun, &format!("through the kubelet: {}", heard.stdout.trim()));

    let begun = Instant::now();
    let summary = wait(LIMIT, || {
        stage.kubelet_page("/stats/summary").ok().map(|s| s.to_string()).filter(|s| s.contains(state.name()))
    })?;
    holds("the summary", &summary.unwrap_or_default(), &["workingSetBytes"])?;
    tell("stats", begun, "the pod is in the kubelet's summary");
    let took = pod.remove()?;
    println!("{:>7.1} ms  {:<18} the manifest is taken away and the pod gone", took.as_secs_f64() * 1e3, "removed");
    Ok(())
}
