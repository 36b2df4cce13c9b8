//! The image store against Debian's docker-registry and the kernel's overlayfs.

mod bench;
mod containers;
mod crash;
mod hostile;
mod pulls;
mod servers;
mod speed;
