//! Runs one command of the script to its end, with all that it started.

use crate::script::drain;
use orlop_testkit::wait_for;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest that one command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// The exit code that stands for a command which had to be ended: none that a program can have.
pub const LATE: i32 = 999;

/// What a command printed, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Standard output; what a terminal showed.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; negative: the signal that ended it.
    pub code: i32,
}

/// Runs a command without a terminal and without input.
pub fn run(mut command: Command) -> io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let code = end(&mut child, COMMAND_LIMIT)?;
    let text = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Ended { stdout: text(stdout), stderr: text(stderr), code })
}

/// Waits for the end of a process that leads a group, and then ends what is left of the group, which would keep the
/// streams open; returns the exit code.
pub fn end(child: &mut Child, limit: Duration) -> io::Result<i32> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    // It stays a zombie until the group is gone: so its number, which is the group's, belongs to nobody else.
    let looked = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let ended = wait_for(limit, || waitid(WaitId::Pid(pid), looked).ok().flatten());
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(match (ended, status.code(), status.signal()) {
        (None, ..) => LATE,
        (Some(_), Some(code), _) => code,
        (Some(_), None, signal) => -signal.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(words: &str) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", words]);
        run(command).unwrap()
    }

    #[test]
    fn streams_and_the_end_are_told_apart() {
        let ended = shell("echo out; echo err >&2; exit 3");
        assert_eq!(ended, Ended { stdout: "out\n".to_owned(), stderr: "err\n".to_owned(), code: 3 });
        assert_eq!(shell("kill -TERM $$").code, -15);
    }

    #[test]
    fn what_a_command_leaves_running_holds_nobody_up() {
        assert_eq!(shell("sleep 600 & echo $!").code, 0);
    }
}
