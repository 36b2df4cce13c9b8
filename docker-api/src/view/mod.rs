//! What the engine knows, as clients read it. Pure.

pub(crate) mod changes;
pub(crate) mod duration;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod network;
pub(crate) mod pull;
pub(crate) mod state;
pub(crate) mod summary;
pub(crate) mod volume;
