//! What the node itself can do.

pub(crate) mod runtime_config;
pub(crate) mod status;
pub(crate) mod update_runtime_config;
pub(crate) mod version;
