//! The Docker Engine API over the engine: a translation, never a dependency.
//!
//! It parses at the edge, once, and refuses by name what is not built. Routes are in `routes/`, one file each; `translate/` makes
//! specs of requests and is pure; `view/` makes answers of what the engine knows; `http/operation.rs` is the table of all of it.
//! Start at [`serve`].
//!
//! Always: what a client sends is bounded before it is looked at; a field is honoured, refused by name, or counted as unknown;
//! containers are known by the engine's records alone, so that a daemon that dies forgets nothing.

// One `json!` says all that `GET /info` answers.
#![recursion_limit = "256"]

mod annex;
mod app;
mod dto;
mod events;
mod execs;
mod http;
mod life;
mod locks;
mod logs;
mod metrics;
mod names;
mod news;
mod not_started;
mod policy;
mod routes;
mod seam;
mod stream;
mod time;
mod translate;
mod view;
mod volumes;

pub use app::{Bridge, Config, namespace, policy};
pub use http::server::serve;
pub use metrics::DockerMetrics;
