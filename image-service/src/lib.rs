//! Registry client, content, layers, garbage: the Images port.
//!
//! Start at [`Store`]: pulls, finds and removes images, and assembles root file systems from their layers. It starts no
//! process and mounts nothing on a path of the node. Everything a registry says and every byte of a layer is untrusted:
//! bounds and digests are checked while bytes stream, paths of a layer are resolved beneath that layer's root only.
//!
//! Invariants: an image record exists only after every byte it names was flushed; a layer is moved away only when no
//! record, no writable layer and no pull under way names it.

mod apply;
mod archive;
mod challenge;
mod changes;
mod clients;
mod commit;
mod containers;
mod credentials;
mod disk;
mod error;
mod flights;
mod flush;
mod from_container;
mod hosts;
mod image_config;
mod index;
mod layer;
mod layer_usage;
mod ledger;
mod manifest;
mod mapped;
mod measure;
mod merge;
mod metrics;
mod moments;
mod names;
mod overlay;
mod progress;
mod pull;
mod record;
mod remote;
mod session;
mod store;
mod sweep;
mod tar;
mod token;
mod tokens;
mod trash;

pub use error::Error;
pub use store::{Config, Store};
