//! HTTP clients, one for each set of trusted certificates.

use crate::error::Error;
use crate::hosts;
use reqwest::Url;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a connection may take, TLS included. A registry that is there answers in well under a second.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a server may stay silent within an answer, and before its first byte.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long an unused connection is kept: pulls of one pod follow each other closely.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Clients kept. More sets of certificates than this on one node are not worth a cache.
const CLIENTS_MAX: usize = 32;

/// What makes two clients the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    loopback_without_tls: bool,
    authorities: [u8; 32],
}

/// The clients made so far.
#[derive(Default)]
pub(crate) struct Clients {
    made: Mutex<HashMap<Key, reqwest::Client>>,
}

// === impl Clients ===

impl Clients {
    /// Returns a client for a server, which trusts some authorities (PEM) beside the system's. Making one reads the system's
    /// certificates, some milliseconds: blocking.
    pub(crate) fn get(&self, server: &Url, authorities: &[Vec<u8>]) -> Result<reqwest::Client, Error> {
        let key = Key {
            loopback_without_tls: server.scheme() == "http" && hosts::is_loopback(server),
            authorities: fingerprint(authorities),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&key) {
            return Ok(client.clone());
        }
        let client = make(server, authorities, &key)?;
        if made.len() >= CLIENTS_MAX {
            made.clear();
        }
        made.insert(key, client.clone());
        Ok(client)
    }
}

fn make(server: &Url, authorities: &[Vec<u8>], key: &Key) -> Result<reqwest::Client, Error> {
    let bad = |why: reqwest::Error| Error::Registry {
        host: server.host_str().unwrap_or_default().to_owned(),
        what: "a client".to_owned(),
        why: crate::session::chain(why),
    };
    let local = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIME_MAX)
        .read_timeout(SILENCE_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        // Followed by the session, which knows where credentials may go.
        .redirect(reqwest::redirect::Policy::none())
        // The name must mean this machine, whatever a resolver says, since plain HTTP is allowed to it.
        .resolve_to_addrs("localhost", &local);
    if key.loopback_without_tls {
        // Through a proxy it would leave the machine.
        builder = builder.no_proxy().tls_built_in_root_certs(false);
    }
    for authority in authorities {
        for certificate in reqwest::Certificate::from_pem_bundle(authority).map_err(bad)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(bad)
}

fn fingerprint(authorities: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for authority in authorities {
        hash.update(authority.len().to_le_bytes());
        hash.update(authority);
    }
    hash.finalize().into()
}
