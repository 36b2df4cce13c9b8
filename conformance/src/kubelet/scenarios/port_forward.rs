//! Port-forward through the kubelet: connections one beside the other, much data, and a port where nobody listens.

use crate::kubelet::pod::{Pod, container};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, holds, same};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Size of the page that is fetched: more than any buffer on the way holds.
const PAGE_BYTES: usize = 5 << 20;
/// The longest that a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(20);

pub fn play(stage: &Stage) -> Verdict {
    // The server listens on the loopback only: a forward goes inside.
    let script = format!(
        "mkdir /tmp/www; echo hello > /tmp/www/small; head -c {PAGE_BYTES} /dev/zero | tr '\\0' z > /tmp/www/large; \
         httpd -p 127.0.0.1:8080 -h /tmp/www; until wget -q -O /dev/null http://127.0.0.1:8080/small; do sleep 0.1; done; \
         echo up; exec sleep 1000"
    );
    let pod = Pod::ask(stage, "port-forward", json!({"containers": [container(stage, "main", &script)]}))?;
    pod.ready()?;
    pod.says("main", "up")?;
    let call = stage.call(&["port-forward", "-pod", &pod.path(), ":8080"])?;
    let port = call.until("it listens", |heard| heard.listening)?;
    holds("the small page", &fetch(stage, port, "/small")?, &["200 OK", "hello"])?;
    let large = || fetch(stage, port, "/large").map(|page| page.len());
    let sizes = std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..3).map(|_| scope.spawn(large)).collect();
        fetches.into_iter().map(|fetch| fetch.join().unwrap_or_else(|_| Err("panicked".to_owned()))).collect::<Vec<_>>()
    });
    for size in sizes {
        let size = size?;
        if !(PAGE_BYTES..PAGE_BYTES + 1024).contains(&size) {
            return Err(format!("a page of {PAGE_BYTES} bytes came as {size}"));
        }
    }

    let closed = stage.call(&["port-forward", "-pod", &pod.path(), ":4711"])?;
    let port = closed.until("it listens", |heard| heard.listening)?;
    let nothing = fetch(stage, port, "/").unwrap_or_default();
    same("what comes from a closed port", nothing.as_str(), "")?;
    closed.until("the refusal is told", |heard| (heard.stderr.contains("4711") || heard.error.is_some()).then_some(()))
}

fn fetch(stage: &Stage, port: u16, path: &str) -> Verdict<String> {
    let fetched = stage.ground().inside(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = fetched.map_err(|e| format!("fetch {path} by port {port}: {e}"))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
