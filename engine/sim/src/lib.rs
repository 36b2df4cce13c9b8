//! In-memory ports driven by a seed
