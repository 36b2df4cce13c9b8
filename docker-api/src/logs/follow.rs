//! A log read as it grows.
