//! Output of containers: from their pipes or terminals to their log files and to clients.

mod clients;
mod lines;
mod output;
mod sink;
mod source;

pub(crate) use output::{Output, READ_BYTES, Which, WriteEnds};
