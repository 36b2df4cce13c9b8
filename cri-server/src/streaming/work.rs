//! What a token stands for: descriptors to copy from and to, and how it ends. The whole of what streaming knows of the node.

use orlop_model::Failure;
use orlop_model::ports::{Answer, ExecEnded};
use orlop_model::streams::{Streams, TerminalSize, WantedStreams};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What kind of work it is; each has a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To run a program in a container.
    Exec,
    /// To share a container's own streams.
    Attach,
    /// To reach ports of a sandbox.
    PortForward,
}

/// Work that was promised.
pub(crate) enum Work {
    /// To run a program in a container.
    Exec(Command),
    /// To share a container's own streams.
    Attach(Command),
    /// To reach ports of a sandbox.
    PortForward(Connect),
}

/// A command whose streams a client wants.
pub(crate) struct Command {
    /// Id of the container, for the log.
    pub(crate) container: String,
    /// Which streams the client opens.
    pub(crate) wanted: WantedStreams,
    /// Whether it has a terminal, whose size the client sends.
    pub(crate) terminal: Terminal,
    /// Begins it.
    pub(crate) open: Open,
    /// Done once when the client sends no more standard input, and once more when it has gone.
    pub(crate) close_stdin: Option<CloseStdin>,
}

/// A terminal or pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// A terminal.
    Yes,
    /// Pipes.
    No,
}

/// Begins a command.
pub(crate) type Open = Box<dyn FnOnce() -> Answer<'static, Result<Opened, Failure>> + Send>;
/// Ends a container's standard input; quiet the second time.
pub(crate) type CloseStdin = Arc<dyn Fn() -> Answer<'static, Result<(), Failure>> + Send + Sync>;
/// Sets the size of a command's terminal.
pub(crate) type Resize = Box<dyn Fn(TerminalSize) -> Answer<'static, Result<(), Failure>> + Send + Sync>;

/// A command that has begun.
pub(crate) struct Opened {
    /// Its streams; with a terminal there is no standard error.
    pub(crate) streams: Streams,
    /// Sets the size of its terminal.
    pub(crate) resize: Resize,
    /// How it ends, when that is known before and beside the end of its output. Dropped, it is killed.
    pub(crate) ended: Option<Answer<'static, Result<ExecEnded, Failure>>>,
}

/// Reaches ports of a sandbox.
pub(crate) struct Connect {
    /// Id of the sandbox, for the log.
    pub(crate) sandbox: String,
    /// Connects to a port; the socket does not block.
    pub(crate) connect: Box<dyn Fn(u16) -> Answer<'static, Result<OwnedFd, Failure>> + Send + Sync>,
}

// === impl ===

impl Kind {
    /// Returns the part of the path that is before the token.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }

    /// Finds the kind of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        [Self::Exec, Self::Attach, Self::PortForward].into_iter().find(|kind| kind.path() == path)
    }
}

impl Work {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Exec(_) => Kind::Exec,
            Self::Attach(_) => Kind::Attach,
            Self::PortForward(_) => Kind::PortForward,
        }
    }

    /// Returns the id of what it is about, for the log.
    pub(crate) fn about(&self) -> &str {
        match self {
            Self::Exec(command) | Self::Attach(command) => &command.container,
            Self::PortForward(connect) => &connect.sandbox,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use orlop_model::ErrorKind;

    /// Work that reaches nothing.
    pub(crate) fn forward_nowhere() -> Work {
        let connect = |port| -> Answer<'static, _> {
            let refused = Failure::new(ErrorKind::Unavailable, format!("connect to port {port}: refused"));
            Box::pin(std::future::ready(Err(refused)))
        };
        Work::PortForward(Connect { sandbox: "pod".to_owned(), connect: Box::new(connect) })
    }

    #[test]
    fn every_kind_has_a_path_of_its_own() {
        for kind in [Kind::Exec, Kind::Attach, Kind::PortForward] {
            assert_eq!(Kind::of(kind.path()), Some(kind));
        }
        assert_eq!(Kind::of("cri"), None);
    }
}
