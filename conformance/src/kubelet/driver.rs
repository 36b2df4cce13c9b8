//! The client-go program, as scenarios use it: exec, attach, port-forward and logs through the kubelet's server.

use crate::bench::interrupt;
use crate::script::Verdict;
use orlop_testkit::{Ground, wait_for};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest that a word or the end is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// What came by a call so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Standard output, or the log.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The local port of a port-forward.
    pub listening: Option<u16>,
    /// The exit code; the call has ended.
    pub exit: Option<i32>,
    /// What went wrong; the call has ended.
    pub error: Option<String>,
    /// Whether the client itself has ended.
    pub over: bool,
}

/// One line of the client's output.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    data: String,
    listening: Option<u16>,
    exit: Option<i32>,
    error: Option<String>,
}

/// A call that goes on. Dropped, its client is ended.
pub struct Call {
    process: Child,
    stdin: Option<ChildStdin>,
    heard: Arc<Mutex<Heard>>,
    reader: Option<JoinHandle<()>>,
}

impl Call {
    /// Starts the client: its verb, its flags, and what comes after them.
    pub fn start(driver: &Path, ground: &Ground, arguments: &[&str]) -> Verdict<Self> {
        let mut command: Command = ground.command(driver);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(|e| format!("start the client: {e}"))?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (lines, into) = (process.stdout.take(), Arc::clone(&heard));
        let reader = std::thread::spawn(move || {
            let lines = lines.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            lines.for_each(|line| lock(&into).add(&line));
            lock(&into).over = true;
        });
        Ok(Self { stdin: process.stdin.take(), process, heard, reader: Some(reader) })
    }

    /// Sends what the program reads.
    pub fn send(&mut self, text: &str) -> Verdict {
        let stdin = self.stdin.as_mut().ok_or("standard input is closed already")?;
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).map_err(|e| format!("send: {e}"))
    }

    /// Ends standard input: for an exec half of the connection, for a port-forward all of it.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Waits until `look` finds what it wants in what was heard.
    pub fn until<T>(&self, what: &str, look: impl Fn(&Heard) -> Option<T>) -> Verdict<T> {
        let found = wait_for(LIMIT, || {
            let heard = self.heard();
            if let Err(asked) = interrupt::check() {
                return Some(Err(asked.to_string()));
            }
            match look(&heard) {
                Some(found) => Some(Ok(found)),
                None if heard.over => Some(Err(format!("the call ended before {what}: {heard:?}"))),
                None => None,
            }
        });
        found.unwrap_or_else(|| Err(format!("waited {LIMIT:?} in vain until {what}: {:?}", self.heard())))
    }

    /// Waits until standard output holds the words.
    pub fn says(&self, words: &str) -> Verdict {
        self.until(&format!("{words:?} is heard"), |heard| heard.stdout.contains(words).then_some(()))
    }

    /// Waits for the end, and returns all that was heard.
    pub fn end(self) -> Verdict<Heard> {
        let heard = self.until("the end", |heard| heard.over.then(|| heard.clone()))?;
        match &heard.error {
            Some(error) => Err(format!("the call failed: {error}")),
            None => Ok(heard),
        }
    }

    /// Returns what was heard so far.
    pub fn heard(&self) -> Heard {
        lock(&self.heard).clone()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

impl Heard {
    fn add(&mut self, line: &str) {
        let event: Event = match serde_json::from_str(line) {
            Ok(event) => event,
            Err(e) => {
                self.error = Some(format!("{line:?} is no event: {e}"));
                return;
            }
        };
        let stream = if event.stream == "stderr" { &mut self.stderr } else { &mut self.stdout };
        stream.push_str(&event.data);
        self.listening = event.listening.or(self.listening);
        self.exit = event.exit.or(self.exit);
        self.error = event.error.or(self.error.take());
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_add_up() {
        let mut heard = Heard::default();
        for line in [
            r#"{"stream":"stdout","data":"a"}"#,
            r#"{"stream":"stderr","data":"e"}"#,
            r#"{"stream":"stdout","data":"b"}"#,
            r#"{"listening":40123}"#,
            r#"{"exit":3}"#,
        ] {
            heard.add(line);
        }
        assert_eq!((heard.stdout.as_str(), heard.stderr.as_str()), ("ab", "e"));
        assert_eq!((heard.listening, heard.exit, &heard.error), (Some(40123), Some(3), &None));
        heard.add("panic: x");
        assert!(heard.error.unwrap().contains("no event"));
    }
}
