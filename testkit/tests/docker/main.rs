//! The stock docker CLI over a whole daemon, its spawner and its shims.
#![allow(clippy::unwrap_used, reason = "a test that can't go on says so at once, in its helpers too")]

mod archive;
mod attach;
mod bad_input;
mod commit;
mod damage;
mod foreground;
mod gone;
mod killed;
mod life;
mod look;
mod networks;
mod one_store;
mod policies;
mod refusals;
mod settings;
mod slow_registry;
mod stops;
mod streams;
mod terminal;
mod volumes;
mod wire;
