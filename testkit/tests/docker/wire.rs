//! The API without a client library: requests as bytes, connections taken over.

use orlop_testkit::docker::Docker;
use orlop_testkit::wait_for;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest until something awaited is there.
pub const LIMIT: Duration = Duration::from_secs(20);
/// The longest that one read waits, so that a look at the clock is taken now and then.
const READ_WITHIN: Duration = Duration::from_millis(50);

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The whole body.
    pub body: String,
}

/// A connection and what came by it that nobody has asked for yet.
pub struct Wire {
    stream: UnixStream,
    came: Vec<u8>,
    ended: bool,
}

impl Wire {
    /// Connects.
    pub fn to(docker: &Docker<'_>) -> Self {
        let stream = UnixStream::connect(docker.socket()).unwrap();
        stream.set_read_timeout(Some(READ_WITHIN)).unwrap();
        Self { stream, came: Vec::new(), ended: false }
    }

    /// Makes a request and reads its answer.
    pub fn ask(docker: &Docker<'_>, method: &str, path: &str, body: &str) -> Answer {
        let mut wire = Self::to(docker);
        wire.send_request(method, path, "Content-Type: application/json\r\nConnection: close\r\n", body);
        wire.answer()
    }

    /// Makes a request that takes the connection over; returns it behind the head of the answer.
    pub fn take_over(docker: &Docker<'_>, path: &str, body: &str) -> Self {
        let mut wire = Self::to(docker);
        let headers = "Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
        wire.send_request("POST", path, headers, body);
        let head = wire.until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "POST {path}: {head}");
        wire
    }

    /// Makes a request whose answer is not waited for: who drops it has gone.
    pub fn begin(docker: &Docker<'_>, path: &str, body: &str) -> Self {
        let mut wire = Self::to(docker);
        wire.send_request("POST", path, "Content-Type: application/json\r\n", body);
        wire
    }

    /// Begins a request whose answer is read by and by; returns the connection behind the head.
    pub fn follow(docker: &Docker<'_>, method: &str, path: &str) -> Self {
        let mut wire = Self::to(docker);
        wire.send_request(method, path, "", "");
        let head = wire.until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {head}");
        wire
    }

    fn send_request(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let length = body.len();
        self.send(
            format!("{method} {path} HTTP/1.1\r\nHost: docker\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        );
    }

    /// Reads an answer to the end of the connection.
    fn answer(mut self) -> Answer {
        let head = self.until("\r\n\r\n");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let body = String::from_utf8_lossy(&self.rest()).into_owned();
        Answer { status: status.unwrap_or_else(|| panic!("no status: {head}")), body }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Says that nothing more is sent.
    pub fn end_input(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads up to the end of a text and returns all of that.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let found = wait_for(LIMIT, || {
            self.read_some();
            let at = find(&self.came, text.as_bytes());
            (at.is_some() || self.ended).then_some(at)
        });
        match found.flatten() {
            Some(at) => {
                let rest = self.came.split_off(at + text.len());
                String::from_utf8_lossy(&std::mem::replace(&mut self.came, rest)).into_owned()
            }
            None => panic!("{text:?} did not come, but {:?}", String::from_utf8_lossy(&self.came)),
        }
    }

    /// Reads to the end of the connection.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let ended = wait_for(LIMIT, || {
            self.read_some();
            self.ended.then_some(())
        });
        assert!(ended.is_some(), "the connection does not end; it brought {:?}", String::from_utf8_lossy(&self.came));
        std::mem::take(&mut self.came)
    }

    fn read_some(&mut self) {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => self.came.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.ended = true,
        }
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
