//! A client of the Docker socket, one request a connection: the stock CLI would make several requests of one, and hide which
//! of them the daemon died over.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take: longer than any grace that a test gives.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// A client of the Docker socket of a daemon under test.
#[derive(Clone, Debug)]
pub struct DockerClient {
    socket: PathBuf,
}

/// What the daemon answered.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerReply {
    /// HTTP status.
    pub status: u16,
    /// The body, where it is JSON; null otherwise.
    pub body: Value,
}

// === impl DockerClient ===

impl DockerClient {
    /// Returns a client of a socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Makes a request and reads the whole answer.
    /// Fails when the daemon is not there, or goes before it has answered.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<DockerReply> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no whole answer of HTTP"))
    }
}

impl DockerReply {
    /// Returns the message of an error.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

fn parse(answer: &[u8]) -> Option<DockerReply> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
    Some(DockerReply { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

/// Puts the parts of a body together. RFC 9112, 7.1.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{\"Id\":\"a\"}";
        assert_eq!(parse(whole).unwrap().body["Id"], "a");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n";
        let reply = parse(chunked).unwrap();
        assert_eq!((reply.status, &reply.body["a"]), (200, &Value::from(1)));
        assert_eq!(parse(&chunked[..60]), None);
        assert_eq!(parse(b"HTTP/1.1 204 No"), None);
    }
}
