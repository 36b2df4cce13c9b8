//! HTTP as the API uses it: versions, parameters, bodies, errors, answers.

pub(crate) mod body;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod filters;
pub(crate) mod operation;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod version;

#[cfg(test)]
mod names;
