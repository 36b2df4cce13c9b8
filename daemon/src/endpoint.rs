//! The endpoint of metrics, and where it is: a unix socket, or an address and port of this host.

use crate::serve::{Error, listen};
use orlop_metrics::{Bounds, Listener, Metrics, Part};
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Where the Prometheus endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum MetricsListen {
    /// The path of a unix socket.
    Unix(PathBuf),
    /// An address and a port.
    Tcp(SocketAddr),
}

/// Who may be given metrics over an address and port: there is no login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs on this host.
    Host,
    /// Whoever reaches the address.
    Network,
}

impl MetricsListen {
    /// Returns whether only programs on this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
        }
    }
}

impl std::str::FromStr for MetricsListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "{text:?} is neither an absolute path of a unix socket nor an address and port such as 127.0.0.1:9620"
            )
        })
    }
}

impl TryFrom<String> for MetricsListen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for MetricsListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// The endpoint of metrics, before and while it is served beside everything else. Goes with its socket when dropped.
#[derive(Debug)]
pub struct Endpoint {
    listener: Listener,
    socket: SocketFile,
}

impl Endpoint {
    /// Binds it.
    pub async fn open(listen_on: &MetricsListen) -> Result<Self, Error> {
        let (listener, socket) = match listen_on {
            MetricsListen::Unix(path) => (Listener::Unix(listen(path)?), Some(path.clone())),
            MetricsListen::Tcp(address) => {
                let failed = |source| Error::Address { address: *address, source };
                (Listener::Tcp(TcpListener::bind(address).await.map_err(failed)?), None)
            }
        };
        Ok(Self { listener, socket: SocketFile(socket) })
    }

    /// Serves what the parts count until the answer is dropped.
    pub fn show<const N: usize>(self, parts: [Part; N]) -> (JoinSet<()>, SocketFile) {
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        parts.into_iter().for_each(|part| metrics.add(part));
        let mut served = JoinSet::new();
        served.spawn(orlop_metrics::serve(self.listener, metrics, Bounds::default()));
        (served, self.socket)
    }
}

/// The file of a socket, removed when nobody listens any more.
#[derive(Debug)]
pub struct SocketFile(Option<PathBuf>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            drop(fs::remove_file(path));
        }
    }
}
