//! Where the output of a container comes from: a pipe, or the master of its terminal.

use crate::error::{Result, Tried};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A stream that has not ended.
#[derive(Debug)]
pub(crate) enum Source {
    /// The reading end of a pipe.
    Pipe(OwnedFd),
    /// A terminal, all output in one.
    Terminal(Terminal),
}

/// The master of a terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    /// A slave of ours: without one, a program that closes its terminal for a moment, as an init does, would seem to have
    /// ended. `None` once the container has.
    slave: Option<OwnedFd>,
}

/// What a read gave.
pub(crate) enum Read {
    Bytes(usize),
    /// Nothing more now.
    Dry,
    End,
}

// === impl Source ===

impl Source {
    /// Reads once.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Read {
        match (rustix::io::read(self.as_fd(), &mut *buffer), self) {
            (Ok(0), _) => Read::End,
            (Ok(bytes), _) => Read::Bytes(bytes),
            (Err(Errno::AGAIN | Errno::INTR), _) => Read::Dry,
            // Nobody has the slave open: vhangup(2) took ours as well.
            (Err(Errno::IO), Self::Terminal(terminal)) => terminal.go_on(),
            // A pipe has no other errors; were there one, waiting for it for ever would spin.
            (Err(_), _) => Read::End,
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(pipe) => pipe.as_fd(),
            Self::Terminal(terminal) => terminal.master.as_fd(),
        }
    }
}

// === impl Terminal ===

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> Self {
        let slave = open_slave(&master).ok();
        Self { master, slave }
    }

    /// Opens our slave anew, while the container lives.
    fn go_on(&mut self) -> Read {
        if self.slave.is_none() {
            return Read::End;
        }
        self.slave = open_slave(&self.master).ok();
        if self.slave.is_some() { Read::Dry } else { Read::End }
    }

    /// Lets it end as soon as no process has it open.
    pub(crate) fn let_go(&mut self) {
        self.slave = None;
    }

    /// Returns the master for somebody who writes to it.
    pub(crate) fn lend(&self) -> Result<OwnedFd> {
        self.master.try_clone().tried("copy a terminal")
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).tried("resize a terminal")
    }
}

fn open_slave(master: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    // Without a session's terminal this would become ours.
    ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}
