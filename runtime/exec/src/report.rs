//! What a child says when a step fails: one small packet, or nothing at all.

use orlop_wire::frame::{Failed, Phase};
use orlop_wire::plan::Plan;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of a packet: stage, three of padding, index, errno. Below `PIPE_BUF`, so that it is written whole.
pub(crate) const PACKET_BYTES: usize = 12;

/// Where a child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the plan: descriptors, cgroup, own namespaces.
    Birth,
    /// The join of this index.
    Join(u32),
    /// The operation of this index.
    Op(u32),
    /// Mapping the owners of what the operation of this index binds.
    Map(u32),
    /// After the plan: signals, descriptors.
    Settle,
    /// execve(2) of the program.
    Exec,
}

/// A step that failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which step.
    pub stage: Stage,
    /// The kernel's reason.
    pub errno: i32,
}

/// What a child said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// Its program runs, or it was killed before; the wait status tells.
    Running,
    /// A step failed; the child is ending.
    Failed(Failure),
}

/// The reading end of the pipe; does not wait.
#[derive(Debug)]
pub struct Report(File);

// === impl Failure ===

impl Failure {
    /// Says it in words, for the plan that the child was running.
    #[must_use]
    pub fn describe(&self, plan: &Plan) -> Failed {
        let index = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let (what, phase) = match self.stage {
            Stage::Birth => ("enter the cgroup and make namespaces".to_owned(), Phase::Setup),
            Stage::Join(at) => {
                let kind = plan.join.get(index(at)).map(|join| format!("{:?}", join.kind).to_lowercase());
                (format!("enter the {} namespace", kind.as_deref().unwrap_or("unknown")), Phase::Setup)
            }
            Stage::Op(at) => {
                let what = plan.ops.get(index(at)).map(orlop_wire::plan::Op::describe);
                (what.unwrap_or_else(|| "run an operation".to_owned()), Phase::Setup)
            }
            Stage::Map(at) => {
                let what = plan.ops.get(index(at)).map(orlop_wire::plan::Op::describe);
                let what = what.unwrap_or_else(|| "run an operation".to_owned());
                (
                    format!("{what}, its owners mapped to the user namespace, which its file system may be unable to"),
                    Phase::Setup,
                )
            }
            Stage::Settle => ("reset signals and descriptors".to_owned(), Phase::Setup),
            Stage::Exec => {
                let word = plan.program.argv.first().map(|word| String::from_utf8_lossy(word).into_owned());
                let word = word.or_else(|| plan.program.candidates.first().cloned());
                (format!("run {:?}", word.unwrap_or_default()), Phase::Exec)
            }
        };
        Failed { what, errno: self.errno, phase }
    }

    pub(crate) fn encode(self) -> [u8; PACKET_BYTES] {
        let (tag, index) = match self.stage {
            Stage::Birth => (1, 0),
            Stage::Join(at) => (2, at),
            Stage::Op(at) => (3, at),
            Stage::Settle => (4, 0),
            Stage::Exec => (5, 0),
            Stage::Map(at) => (6, at),
        };
        let mut packet = [0; PACKET_BYTES];
        packet[0] = tag;
        packet[4..8].copy_from_slice(&index.to_le_bytes());
        packet[8..].copy_from_slice(&self.errno.to_le_bytes());
        packet
    }

    pub(crate) fn decode(packet: [u8; PACKET_BYTES]) -> Option<Self> {
        let [tag, _, _, _, a, b, c, d, errno @ ..] = packet;
        let at = u32::from_le_bytes([a, b, c, d]);
        let stage = match tag {
            1 => Stage::Birth,
            2 => Stage::Join(at),
            3 => Stage::Op(at),
            4 => Stage::Settle,
            5 => Stage::Exec,
            6 => Stage::Map(at),
            _ => return None,
        };
        Some(Self { stage, errno: i32::from_le_bytes(errno) })
    }
}

/// Tells the parent; there is nobody else to tell when that fails. Runs in the child.
pub(crate) fn tell(pipe: BorrowedFd<'_>, stage: Stage, errno: Errno) {
    let _ = rustix::io::write(pipe, &Failure { stage, errno: errno.raw_os_error() }.encode());
}

// === impl Report ===

impl Report {
    /// Makes a pipe; the child gets the second part.
    pub(crate) fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok((Self(File::from(read)), write))
    }

    /// Reads what the child said.
    ///
    /// # Errors
    /// `InvalidData` for anything but a packet.
    pub fn read(&self) -> io::Result<Outcome> {
        let mut packet = [0; PACKET_BYTES];
        match (&self.0).read(&mut packet) {
            Ok(0) => Ok(Outcome::Running),
            Ok(PACKET_BYTES) => Failure::decode(packet)
                .map(Outcome::Failed)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a report of no known stage")),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a report that is cut short")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Outcome::Pending),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Outcome::Pending),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn failure_survives_the_pipe_and_an_empty_pipe_means_running() {
        for stage in [Stage::Birth, Stage::Join(3), Stage::Op(70_000), Stage::Map(1), Stage::Settle, Stage::Exec] {
            let (report, write) = Report::pipe().unwrap();
            assert_eq!(report.read().unwrap(), Outcome::Pending);
            tell(write.as_fd(), stage, Errno::NOENT);
            assert_eq!(report.read().unwrap(), Outcome::Failed(Failure { stage, errno: libc::ENOENT }));
            drop(write);
            assert_eq!(report.read().unwrap(), Outcome::Running);
        }
    }

    #[test]
    fn bytes_that_are_no_packet_are_an_error() {
        let (report, write) = Report::pipe().unwrap();
        File::from(write).write_all(&[9; PACKET_BYTES + 3]).unwrap();
        assert!(report.read().is_err(), "unknown stage");
        assert!(report.read().is_err(), "cut short");
    }
}
