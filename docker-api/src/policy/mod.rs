//! What keeps containers as their users asked: restarts, removal at the end, health.
//!
//! Decided from records and the clock alone ([`decide::next`], pure), so that a daemon that was killed goes on where it was: what
//! died while none ran is started again, or removed, by the next. The loop ([`Policies::keep`]) only does what is decided. What a
//! user does to a container passes through [`Policies`] too, so that no policy works against it.

mod book;
mod decide;
mod health;
mod keeper;
mod kept;
mod restart;
mod user;

#[cfg(test)]
mod tests;

pub(crate) use book::{BOOK, rules};
pub(crate) use decide::{is_kept_running, is_restarting};
pub(crate) use health::{HealthLog, Status};
pub(crate) use keeper::Policies;
pub(crate) use kept::Kept;
