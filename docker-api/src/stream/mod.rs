//! Streams between clients and processes: framing, detaching, taking a connection over.

pub(crate) mod attach;
pub(crate) mod client;
pub(crate) mod detach;
pub(crate) mod frame;
pub(crate) mod pipe;
pub(crate) mod process;
