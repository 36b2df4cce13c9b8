//! The networks that are always there.

pub(super) mod inspect;
pub(super) mod list;
pub(crate) mod predefined;
pub(super) mod prune;
pub(super) mod remove;
