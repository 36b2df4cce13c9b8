//! A script of checks against one program: each is run, judged, counted and told in one line.

use orlop_testkit::wait_for;
use std::fmt::Debug;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest that one command of a script may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Why a check is not passed.
pub type Verdict<T = ()> = Result<T, String>;

/// What a command printed, and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Succeeds when the command failed, saying all of `words` on standard error.
    pub fn refused(&self, words: &[&str]) -> Verdict {
        if self.code == Some(0) {
            return Err("succeeded, and should have failed".to_owned());
        }
        holds("standard error", &self.stderr, words)
    }

    /// Succeeds when the command did, and printed all of `words`.
    pub fn printed(&self, words: &[&str]) -> Verdict {
        holds("standard output", self.text()?, words)
    }

    /// Returns what the command printed, without the blanks around it, when it succeeded.
    pub fn text(&self) -> Verdict<&str> {
        if self.code == Some(0) { Ok(self.stdout.trim()) } else { Err(format!("ended with {:?}", self.code)) }
    }

    /// Returns what the command printed as JSON.
    pub fn json(&self) -> Verdict<serde_json::Value> {
        serde_json::from_str(self.text()?).map_err(|e| format!("standard output is not JSON: {e}"))
    }

    /// Returns the id that the command printed: 64 hex digits and nothing else.
    pub fn id(&self) -> Verdict<String> {
        let text = self.text()?;
        let hex = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex { Ok(text.to_owned()) } else { Err("standard output is not an id".to_owned()) }
    }
}

/// Succeeds when the text holds all of the words.
pub fn holds(what: &str, text: &str, words: &[&str]) -> Verdict {
    match words.iter().find(|word| !text.contains(**word)) {
        Some(missing) => Err(format!("{missing:?} is missing in {what}")),
        None => Ok(()),
    }
}

/// Succeeds when the two are the same.
pub fn same<A: PartialEq<B> + Debug, B: Debug>(what: &str, is: A, expected: B) -> Verdict {
    if is == expected { Ok(()) } else { Err(format!("{what} is {is:?}, not {expected:?}")) }
}

/// Counts checks, and tells each.
#[derive(Debug, Default)]
pub struct Script {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Script {
    /// Runs a command and judges its output. Returns what the judge found, when it was satisfied.
    pub fn check<T>(&mut self, name: &str, command: Command, judge: impl FnOnce(&Output) -> Verdict<T>) -> Option<T> {
        let begun = Instant::now();
        let output = run(command);
        let verdict = output.as_ref().map_err(Clone::clone).and_then(judge);
        let took = begun.elapsed().as_millis();
        match verdict {
            Ok(found) => {
                self.passed += 1;
                println!("ok      {name} ({took} ms)");
                Some(found)
            }
            Err(why) => {
                self.failed += 1;
                println!("FAILED  {name}: {why}");
                let output = output.unwrap_or_default();
                for (stream, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
                    text.lines().take(20).for_each(|line| println!("        {stream}: {line}"));
                }
                None
            }
        }
    }

    /// Counts a check that can't be made, and says why.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        println!("skipped {name}: {reason}");
    }

    /// Prints the closing line; returns whether nothing failed.
    pub fn close(&self, suite: &str) -> bool {
        println!("{suite}: {} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        self.failed == 0
    }
}

/// Runs a command to its end, within the limit.
fn run(mut command: Command) -> Verdict<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("start: {e}"))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait_for(COMMAND_LIMIT, || child.try_wait().ok().flatten());
    if status.is_none() {
        end(&mut child);
    }
    let text = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    let output = Output { code: status.and_then(|status| status.code()), stdout: text(stdout), stderr: text(stderr) };
    if status.is_none() { Err(format!("took longer than {COMMAND_LIMIT:?}; {output:?}")) } else { Ok(output) }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads a stream to its end on a thread of its own, so that a full pipe holds nothing up.
pub fn drain(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted_by_how_they_went() {
        let mut script = Script::default();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        script.check("refusal", shell, |output| output.refused(&["err"]));
        assert!(script.check("text", Command::new("true"), |output| output.printed(&["something"])).is_none());
        script.skip("other", "no reason");
        assert_eq!((script.passed, script.failed, script.skipped), (1, 1, 1));
        assert!(!script.close("example"));
    }

    #[test]
    fn only_an_id_is_an_id() {
        let output = |stdout: &str| Output { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() };
        assert!(output(&format!("{}\n", "0a".repeat(32))).id().is_ok());
        assert!(output("0a").id().is_err());
    }
}
