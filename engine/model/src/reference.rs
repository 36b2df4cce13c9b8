//! References to images, as people write them. Pure.
//!
//! The grammar and the shorthands are Docker's (distribution/reference): `busybox` is `docker.io/library/busybox:latest`.

use crate::id::Digest;
use std::fmt;

/// Longest name without tag and digest, in bytes; the distribution grammar's own bound.
const NAME_BYTES_MAX: usize = 255;

/// Longest tag, in bytes; the distribution grammar's own bound.
const TAG_BYTES_MAX: usize = 128;

/// Longest reference that is looked at: a name, a tag, a digest of 71 bytes and what stands between.
const REFERENCE_BYTES_MAX: usize = NAME_BYTES_MAX + TAG_BYTES_MAX + 73;

/// The registry of names without one.
const DEFAULT_HOST: &str = "docker.io";

/// Where that registry has the names of one word.
const DEFAULT_FOLDER: &str = "library/";

/// The tag of names without one.
const DEFAULT_TAG: &str = "latest";

/// A reference, complete: nothing in it is left to a default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    path: String,
    version: Version,
}

/// Which image of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Whatever the tag points at now.
    Tag(String),
    /// Exactly these bytes. A tag that stood beside the digest is dropped: the digest decides.
    Digest(Digest),
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// Longer than any reference can be.
    #[error("it has {0} bytes, at most {REFERENCE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A name over its bound.
    #[error("its name has {0} bytes, at most {NAME_BYTES_MAX} are allowed")]
    NameTooLong(usize),
    /// A registry that is no host name or address.
    #[error("{0:?} is not a registry host, optionally with a port")]
    Host(String),
    /// A path component that breaks the grammar.
    #[error(
        "the part {0:?} of its name may only hold lower-case letters and digits, with '.', '_', '__' or '-' between them"
    )]
    Component(String),
    /// A tag that breaks the grammar.
    #[error(
        "the tag {0:?} may only hold up to {TAG_BYTES_MAX} letters, digits, '_', '.' and '-', and not start with '.' or '-'"
    )]
    Tag(String),
    /// A digest in another form or with another algorithm.
    #[error("{0:?} is not a digest of the form sha256: and 64 lower-case hex digits")]
    Digest(String),
    /// A name that would be taken for an id.
    #[error("64 hex digits are the id of an image, not a name that can be pulled")]
    LooksLikeId,
}

// === impl Reference ===

impl Reference {
    /// Parses a reference and fills in what it leaves out.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        if text.is_empty() {
            return Err(BadReference::Empty);
        }
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(BadReference::TooLong(text.len()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).map_err(|_| BadReference::Digest(digest.to_owned()))?))
            }
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        if is_id(name) {
            return Err(BadReference::LooksLikeId);
        }
        let (host, path) = split_host(name);
        check_host(host)?;
        for component in path.split('/') {
            check_component(component)?;
        }
        let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
        let path = if host == DEFAULT_HOST && !path.contains('/') {
            format!("{DEFAULT_FOLDER}{path}")
        } else {
            path.to_owned()
        };
        let length = host.len() + 1 + path.len();
        if length > NAME_BYTES_MAX {
            return Err(BadReference::NameTooLong(length));
        }
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Digest(digest),
            (None, Some(tag)) => Version::Tag(tag.to_owned()),
            (None, None) => Version::Tag(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { host: host.to_owned(), path, version })
    }

    /// Returns the registry as it was asked for, port included; `docker.io` when none was.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the repository on that registry: `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the name without tag or digest: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Returns the reference of exactly one image of the same name.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { host: self.host.clone(), path: self.path.clone(), version: Version::Digest(digest) }
    }

    /// Returns the name as people write it: `busybox` for `docker.io/library/busybox`, without tag or digest.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.name();
        }
        match self.path.strip_prefix(DEFAULT_FOLDER) {
            // `library/a/b` without its folder would be another name.
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            Some(_) | None => self.path.clone(),
        }
    }

    /// Returns the whole reference as people write it, tag or digest included: `busybox:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        match &self.version {
            Version::Tag(tag) => format!("{}:{tag}", self.familiar_name()),
            Version::Digest(digest) => format!("{}@{digest}", self.familiar_name()),
        }
    }

    /// Returns which image of that name.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}/{}:{tag}", self.host, self.path),
            Version::Digest(digest) => write!(f, "{}/{}@{digest}", self.host, self.path),
        }
    }
}

// === parts ===

/// A colon after the last slash starts a tag; before it, it belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rfind(':') {
        Some(colon) if !text[colon..].contains('/') => (&text[..colon], Some(&text[colon + 1..])),
        Some(_) | None => (text, None),
    }
}

/// The first component is a host when it could not be part of a path on Docker's own registry.
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        Some(_) | None => (DEFAULT_HOST, name),
    }
}

fn check_host(host: &str) -> Result<(), BadReference> {
    let bad = || BadReference::Host(host.to_owned());
    let (address, port) = if let Some(rest) = host.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(bad)?;
        inside.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
        match after.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if after.is_empty() => (None, None),
            None => return Err(bad()),
        }
    } else {
        match host.split_once(':') {
            Some((address, port)) => (Some(address), Some(port)),
            None => (Some(host), None),
        }
    };
    if let Some(port) = port {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !matches!(port.parse::<u16>(), Ok(1..)) {
            return Err(bad());
        }
    }
    let good_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if address.is_some_and(|address| !address.split('.').all(good_label)) {
        return Err(bad());
    }
    Ok(())
}

fn check_component(component: &str) -> Result<(), BadReference> {
    let bad = || BadReference::Component(component.to_owned());
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return Err(bad()) };
    if !word(*first) || !word(*last) {
        return Err(bad());
    }
    for separator in bytes.split(|byte| word(*byte)).filter(|between| !between.is_empty()) {
        let good = matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-');
        if !good {
            return Err(bad());
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), BadReference> {
    let bytes = tag.as_bytes();
    let good = bytes.len() <= TAG_BYTES_MAX
        && bytes.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if good { Ok(()) } else { Err(BadReference::Tag(tag.to_owned())) }
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn shorthands_become_complete_references() {
        for (text, expected) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/a/b:c", "docker.io/a/b:c"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("[::1]/a", "[::1]/a:latest"),
            ("Registry/a", "Registry/a:latest"),
            ("registry.k8s.io/e2e-test-images/busybox:1.29-2", "registry.k8s.io/e2e-test-images/busybox:1.29-2"),
            // Without a slash this is a name and a tag, however much it looks like a host and a port.
            ("localhost:5000", "docker.io/library/localhost:5000"),
            ("a.b", "docker.io/library/a.b:latest"),
            ("a__b/c-d--e.f_g", "docker.io/a__b/c-d--e.f_g:latest"),
        ] {
            assert_eq!(Reference::parse(text).map(|r| r.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn familiar_form_is_short_and_means_the_same() {
        for (text, expected) in [
            ("docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1", "busybox:1"),
            ("user/app", "user/app:latest"),
            ("docker.io/library/a/b:1", "library/a/b:1"),
            ("localhost:5000/library/a:1", "localhost:5000/library/a:1"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.familiar(), expected, "{text}");
            assert_eq!(Reference::parse(expected), Ok(reference), "{text}");
        }
        let digest = format!("busybox@sha256:{HEX}");
        assert_eq!(Reference::parse(&digest).unwrap().familiar(), digest);
    }

    #[test]
    fn digest_wins_over_a_tag_beside_it() {
        let digest = format!("sha256:{HEX}");
        for text in [format!("a/b@{digest}"), format!("a/b:1@{digest}")] {
            assert_eq!(Reference::parse(&text).unwrap().to_string(), format!("docker.io/a/b@{digest}"));
        }
    }

    #[test]
    fn malformed_references_are_refused_with_the_reason() {
        use BadReference::{Component, Empty, Host, LooksLikeId, Tag};
        for (text, expected) in [
            ("", Empty),
            ("UPPER", Component("UPPER".into())),
            ("a/UPPER", Component("UPPER".into())),
            ("a//b", Component(String::new())),
            ("a/", Component(String::new())),
            ("/a", Component(String::new())),
            (" a", Component(" a".into())),
            ("a/../b", Component("..".into())),
            ("..", Component("..".into())),
            ("a___b", Component("a___b".into())),
            ("a..b", Component("a..b".into())),
            ("-a", Component("-a".into())),
            ("a:", Tag(String::new())),
            ("a:.b", Tag(".b".into())),
            ("a:b c", Tag("b c".into())),
            ("ho_st.x/a", Host("ho_st.x".into())),
            ("../a", Host("..".into())),
            ("host.x:99999/a", Host("host.x:99999".into())),
            ("host.x:/a", Host("host.x:".into())),
            ("host.x:+80/a", Host("host.x:+80".into())),
            ("[::g]:5000/a", Host("[::g]:5000".into())),
            (HEX, LooksLikeId),
        ] {
            assert_eq!(Reference::parse(text), Err(expected), "{text}");
        }
        for text in ["a@", "a@sha256:00", "a@md5:0123", "a@b@c"] {
            assert!(matches!(Reference::parse(text), Err(BadReference::Digest(_))), "{text}");
        }
        assert_eq!(Reference::parse(&"a".repeat(1000)), Err(BadReference::TooLong(1000)));
        assert_eq!(Reference::parse("a/".repeat(130).trim_end_matches('/')), Err(BadReference::NameTooLong(269)));
        assert_eq!(Reference::parse(&format!("a:{}", "t".repeat(129))), Err(Tag("t".repeat(129))));
    }

    proptest::proptest! {
        #[test]
        fn complete_reference_means_itself(text in "[a-zA-Z0-9.:/_@\\[\\]-]{1,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                proptest::prop_assert_eq!(Reference::parse(&reference.familiar()), Ok(reference.clone()));
                proptest::prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
            }
        }
    }
}
