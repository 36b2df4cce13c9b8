//! Links, addresses, routes, nf_tables and tracked connections over netlink: small, synchronous, bounded.
//!
//! Requests are data ([`link::create_veth`], [`address::add`], [`nft::Change`]); a socket sends many in one call and says
//! which one the kernel refused, with its errno and its own words. A socket belongs to the network namespace it was made
//! in, so work inside a pod goes over a socket made there and handed in: nothing here enters a namespace.
//! No policy: names, subnets and rules are the caller's. Start at [`RouteSocket`] and [`nft::NftSocket`].
//!
//! Invariant: a call ends by itself, after [`socket::REPLY_WAIT`] at the latest, and leaves its socket usable.

pub mod address;
pub mod conntrack;
mod error;
pub mod link;
mod message;
pub mod nft;
pub mod route;
mod route_socket;
pub mod socket;

pub use address::{BadCidr, Cidr};
pub use error::{Error, Result};
pub use link::{BadLinkName, Link, LinkName, Mac, Traffic};
pub use message::Request;
pub use route_socket::RouteSocket;
