//! The stock docker CLI over a whole daemon, its spawner and its shims.

mod archive;
mod foreground;
mod life;
mod networks;
mod one_store;
mod policies;
mod refusals;
mod settings;
mod streams;
mod terminal;
