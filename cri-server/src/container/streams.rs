//! What exec and attach ask in common: which streams, and of a container that runs.

use crate::streaming::work::Terminal;
use orlop_model::container_state::ContainerState;
use orlop_model::streams::WantedStreams;
use orlop_model::{ErrorKind, Failure};
use orlop_usecases::ContainerView;

/// Streams as a request asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

/// Checks which streams are asked for.
pub(crate) fn wanted(tried: &str, asked: Asked) -> Result<(WantedStreams, Terminal), Failure> {
    let Asked { stdin, stdout, stderr, tty } = asked;
    let refused = |problem: &str| Err(Failure::new(ErrorKind::InvalidArgument, format!("{tried}: {problem}")));
    if !(stdin || stdout || stderr) {
        return refused("ask for at least one of stdin, stdout and stderr");
    }
    if tty && stderr {
        return refused("tty and stderr exclude each other: a terminal has one output");
    }
    Ok((WantedStreams { stdin, stdout, stderr }, if tty { Terminal::Yes } else { Terminal::No }))
}

/// Refuses a container that does not run, before a client is sent on its way; it may end until the client comes.
pub(crate) fn running(tried: &str, view: &ContainerView) -> Result<(), Failure> {
    let refused = |kind, why: &str| Err(Failure::new(kind, format!("{tried}: container {} {why}", view.asked.id)));
    match &view.state {
        ContainerState::Running(_) | ContainerState::Frozen(_) | ContainerState::Stopping { .. } => Ok(()),
        ContainerState::Lost(_) => refused(ErrorKind::Unavailable, "has a shim that does not answer; retry later"),
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            refused(ErrorKind::WrongState, "has not been started yet")
        }
        ContainerState::Exited { .. } | ContainerState::Removing { .. } | ContainerState::Gone { .. } => {
            refused(ErrorKind::WrongState, "has ended")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_one_output_and_nobody_asks_for_nothing() {
        let asked = Asked::default();
        for (asked, says) in [
            (asked, "at least one"),
            (Asked { tty: true, ..asked }, "at least one"),
            (Asked { tty: true, stdout: true, stderr: true, ..asked }, "exclude"),
        ] {
            let failure = wanted("exec", asked).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidArgument);
            assert!(failure.message.contains(says), "{failure}");
        }
        let (wanted, terminal) = wanted("exec", Asked { tty: true, stdin: true, stdout: true, stderr: false }).unwrap();
        assert_eq!(terminal, Terminal::Yes);
        assert!(wanted.stdin && wanted.stdout && !wanted.stderr);
    }
}
