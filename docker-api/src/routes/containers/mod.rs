//! Containers.

pub(super) mod archive;
pub(super) mod attach;
pub(super) mod changes;
pub(super) mod commit;
pub(super) mod create;
pub(crate) mod find;
pub(super) mod freeze;
pub(super) mod inspect;
pub(super) mod kill;
pub(super) mod list;
pub(super) mod logs;
pub(super) mod prune;
pub(super) mod remove;
pub(super) mod rename;
pub(super) mod resize;
pub(super) mod start;
pub(super) mod stats;
pub(super) mod stop;
pub(super) mod top;
pub(super) mod update;
pub(super) mod wait;

pub(crate) use list::sizes as list_sizes;
pub(crate) use prune::until as prune_until;
