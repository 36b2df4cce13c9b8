//! What clients send, as data: each type beside the table of its fields.
//!
//! `None` and an empty list are told apart, since inspect gives back what was asked: `null` or `[]`.

pub(crate) mod config;
pub(crate) mod endpoint;
pub(crate) mod exec;
pub(crate) mod host_config;
pub(crate) mod update;
pub(crate) mod volume;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Texts by name.
pub(crate) type TextMap = BTreeMap<String, String>;

/// An object without fields, the value of sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nothing {}
