//! Logs of containers: read from the files that their shims write, which outlive every daemon.

pub(crate) mod file;
pub(crate) mod follow;
pub(crate) mod line;
pub(crate) mod watch;
