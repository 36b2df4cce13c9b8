//! The facade's own bytes of a container, and how they are replaced: compared with the generation that the facade knows.

/// Longest annex that may replace another, in bytes: ten times what a facade that keeps the output of five health checks has.
pub(crate) const ANNEX_BYTES_MAX: usize = 1 << 20;

/// What came of replacing an annex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annexed {
    /// It is recorded; this is its generation.
    Written(u64),
    /// Somebody else was quicker: the container has another annex than was known. Read it and decide anew.
    Outdated,
}
