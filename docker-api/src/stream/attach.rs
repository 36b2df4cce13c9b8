//! A client at the streams of a container.
