//! Requests as specs of the engine. Pure: no IO, no clock.
//!
//! All of a request is checked here before anything is done, in the words of dockerd where its users know them.

pub(crate) mod binds;
pub(crate) mod complete;
pub(crate) mod credentials;
pub(crate) mod draft;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod policy;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod security;
pub(crate) mod signal;
pub(crate) mod terminal;
pub(crate) mod volumes;

use crate::http::error::ApiError;

/// What a translation returns.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;
