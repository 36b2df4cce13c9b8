//! Images.

pub(crate) mod fs_info;
pub(crate) mod list;
pub(crate) mod pull;
pub(crate) mod remove;
pub(crate) mod status;
