//! What a request to upgrade must say, and which protocol comes of it. Pure.

use super::work::Kind;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName};

/// What connections are upgraded to.
pub(crate) const SPDY: &str = "SPDY/3.1";
/// Lists the protocols that a client speaks above it, best first, and names the one chosen.
pub(crate) const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Lists those that we speak, when there is no common one.
pub(crate) const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// A protocol above SPDY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Streams of a command; how it ended is text, and only said of failures.
    CommandV1,
    /// The same; clients differ in how they end.
    CommandV2,
    /// Terminals have a size.
    CommandV3,
    /// How a command ended is a JSON document, its exit code included.
    CommandV4,
    /// Pairs of streams to ports.
    PortForward,
}

/// Why a connection is not upgraded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is no request to upgrade to SPDY.
    #[error(
        "streams come over {SPDY}: send the headers Connection: Upgrade and Upgrade: {SPDY}; WebSocket is not built yet in orlop"
    )]
    NotSpdy,
    /// It names no protocol.
    #[error("name the protocols you speak in the header {PROTOCOL}")]
    NoProtocol,
    /// It names none of ours.
    #[error("none of the protocols {0:?} is known; known are {known:?}", known = names(*.1))]
    OtherProtocol(Vec<String>, Kind),
}

// === impl ===

impl Protocol {
    /// Returns its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CommandV1 => "channel.k8s.io",
            Self::CommandV2 => "v2.channel.k8s.io",
            Self::CommandV3 => "v3.channel.k8s.io",
            Self::CommandV4 => "v4.channel.k8s.io",
            Self::PortForward => "portforward.k8s.io",
        }
    }

    /// Returns whether the client of a terminal sends its size.
    pub(crate) fn has_sizes(self) -> bool {
        match self {
            Self::CommandV1 | Self::CommandV2 | Self::PortForward => false,
            Self::CommandV3 | Self::CommandV4 => true,
        }
    }
}

/// Returns the protocols for a kind of work, best first.
fn known(kind: Kind) -> &'static [Protocol] {
    match kind {
        Kind::Exec | Kind::Attach => {
            &[Protocol::CommandV4, Protocol::CommandV3, Protocol::CommandV2, Protocol::CommandV1]
        }
        Kind::PortForward => &[Protocol::PortForward],
    }
}

/// Returns their names.
pub(crate) fn names(kind: Kind) -> Vec<&'static str> {
    known(kind).iter().map(|protocol| protocol.name()).collect()
}

/// Chooses the first of the client's protocols that we speak.
pub(crate) fn negotiate(kind: Kind, headers: &HeaderMap) -> Result<Protocol, Refused> {
    let says = |name, value: &str| words(headers, name).any(|word| word.eq_ignore_ascii_case(value));
    if !says(&CONNECTION, "upgrade") || !says(&UPGRADE, SPDY) {
        return Err(Refused::NotSpdy);
    }
    let wanted: Vec<&str> = words(headers, &PROTOCOL).collect();
    if wanted.is_empty() {
        return Err(Refused::NoProtocol);
    }
    let named = |name: &&str| known(kind).iter().copied().find(|protocol| protocol.name() == *name);
    let others = || Refused::OtherProtocol(wanted.iter().map(|&name| name.to_owned()).collect(), kind);
    wanted.iter().find_map(named).ok_or_else(others)
}

/// Returns the words of a header that may be there several times, and hold several words each time.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), http::HeaderValue::from_static(value));
        }
        headers
    }

    const UPGRADE_PAIRS: [(&str, &str); 2] = [("connection", "keep-alive, Upgrade"), ("upgrade", "spdy/3.1")];

    #[track_caller]
    fn check(kind: Kind, protocols: &[&'static str], expected: Result<Protocol, Refused>) {
        let pairs = UPGRADE_PAIRS.into_iter().chain(protocols.iter().map(|p| (PROTOCOL_NAME, *p)));
        assert_eq!(negotiate(kind, &headers(&pairs.collect::<Vec<_>>())), expected);
    }

    const PROTOCOL_NAME: &str = "x-stream-protocol-version";

    #[test]
    fn the_clients_first_protocol_that_is_known_is_chosen() {
        use Kind::{Attach, Exec, PortForward};
        let all = ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "channel.k8s.io"];
        check(Exec, &all, Ok(Protocol::CommandV4));
        check(Attach, &["v5.channel.k8s.io,v3.channel.k8s.io , v4.channel.k8s.io"], Ok(Protocol::CommandV3));
        check(Exec, &["channel.k8s.io"], Ok(Protocol::CommandV1));
        check(PortForward, &["portforward.k8s.io"], Ok(Protocol::PortForward));
        check(PortForward, &[], Err(Refused::NoProtocol));
        check(Exec, &[" , "], Err(Refused::NoProtocol));
        let other = Refused::OtherProtocol(vec!["v4.channel.k8s.io".to_owned()], PortForward);
        check(PortForward, &["v4.channel.k8s.io"], Err(other.clone()));
        assert!(other.to_string().contains("portforward.k8s.io"), "{other}");
    }

    #[test]
    fn what_is_no_upgrade_to_spdy_is_refused() {
        for pairs in [
            &[][..],
            &[("connection", "upgrade"), ("upgrade", "websocket"), (PROTOCOL_NAME, "v4.channel.k8s.io")],
            &[("connection", "close"), ("upgrade", "spdy/3.1"), (PROTOCOL_NAME, "v4.channel.k8s.io")],
        ] {
            assert_eq!(negotiate(Kind::Exec, &headers(pairs)), Err(Refused::NotSpdy));
        }
    }
}
