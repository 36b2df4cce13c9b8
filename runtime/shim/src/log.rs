//! Output of containers: from their pipes to their log files.

mod lines;
mod output;
mod sink;

pub(crate) use output::{Output, READ_BYTES, Which};
