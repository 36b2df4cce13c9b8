//! A person at a terminal, played: a real pseudo-terminal, on which a command is waited for, typed to and resized.

use super::run::{Ended, end};
use super::transcript::{Move, Size, keys, shown};
use orlop_testkit::wait_for;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest until a terminal shows what is waited for.
const SHOW_LIMIT: Duration = Duration::from_secs(20);
/// The longest until a command ends once everything is typed.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The far side of a terminal: the one that a person sits at.
struct Terminal {
    /// Also written to.
    master: File,
    /// All that was shown so far.
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// Runs a command in a terminal and makes the moves. The command must be `setsid --ctty`, which gives it the terminal as its
/// own and makes it the leader of a group.
pub fn play(mut command: Command, size: Size, moves: &[Move]) -> io::Result<Ended> {
    let (terminal, slave) = Terminal::open(size)?;
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let mut child = command.spawn()?;
    // It holds the near side; as long as the program that runs it did, too, its end would not be seen.
    drop(command);
    let stuck = terminal.make(moves).err();
    let code = end(&mut child, END_LIMIT)?;
    let stderr = stuck.map(|note| note + "\n").unwrap_or_default();
    Ok(Ended { stdout: terminal.close(), stderr, code })
}

// === impl Terminal ===

impl Terminal {
    fn open(size: Size) -> io::Result<(Self, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = Path::new(name.to_str().map_err(io::Error::other)?);
        let slave: OwnedFd = OpenOptions::new().read(true).write(true).open(path)?.into();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let master = File::from(master);
        let reader = read_all(master.try_clone()?, Arc::clone(&shown));
        let terminal = Self { master, shown, reader };
        terminal.resize(size)?;
        Ok((terminal, slave))
    }

    fn resize(&self, size: Size) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.master, size)?)
    }

    /// Makes the moves; says which could not be made.
    fn make(&self, moves: &[Move]) -> Result<(), String> {
        // What was shown before a move doesn't count for the next one that waits.
        let mut seen = 0;
        for made in moves {
            let done = match made {
                Move::Await(text) => {
                    seen = self.wait_until_shown(text, seen)?;
                    Ok(())
                }
                Move::Type(line) => self.wait_until_raw().and_then(|()| self.write(format!("{line}\r").as_bytes())),
                Move::Press(written) => self.wait_until_raw().and_then(|()| self.write(&keys(written))),
                Move::Resize(size) => self.resize(*size),
            };
            done.map_err(|e| format!("[{made:?}: {e}]"))?;
        }
        Ok(())
    }

    /// Returns how much was shown up to the end of the text.
    fn wait_until_shown(&self, text: &str, seen: usize) -> Result<usize, String> {
        let find = || {
            let shown = shown(&self.shown.lock().unwrap_or_else(PoisonError::into_inner));
            Some(seen + shown.get(seen..)?.find(text)? + text.len())
        };
        wait_for(SHOW_LIMIT, find).ok_or_else(|| format!("[{text:?} was not shown within {SHOW_LIMIT:?}]"))
    }

    /// Waits until the CLI has taken over: before, the terminal itself would echo what is typed.
    fn wait_until_raw(&self) -> io::Result<()> {
        let is_raw = || {
            let settings = tcgetattr(&self.master).ok()?;
            (!settings.local_modes.contains(LocalModes::ECHO)).then_some(())
        };
        wait_for(SHOW_LIMIT, is_raw).ok_or_else(|| io::Error::other("the CLI did not take the terminal over"))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.master).write_all(bytes)
    }

    /// Waits until the last process let go of the near side; returns all that was shown.
    fn close(self) -> String {
        let _ = self.reader.join();
        let bytes = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown(&bytes)
    }
}

/// Reads on a thread of its own; ends when the near side is closed, which a master says by EIO.
fn read_all(mut master: File, shown: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.extend_from_slice(&buffer[..count]);
        }
    })
}
