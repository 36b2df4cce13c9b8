//! Names of things. Parsed at the edge, once; inside there is no string that is really an id.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest id accepted in a request, in bytes. Ours have 64.
pub const ID_BYTES_MAX: usize = 128;

/// Why a string is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Nothing was given.
    #[error("the id is empty")]
    Empty,
    /// Longer than [`ID_BYTES_MAX`].
    #[error("the id has {0} bytes, at most {ID_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A character that could end up meaning something in a path.
    #[error("the id holds {0:?}; only letters, digits, '_' and '-' are allowed")]
    Character(char),
}

fn check(text: &str) -> Result<(), BadId> {
    if text.is_empty() {
        return Err(BadId::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(BadId::TooLong(text.len()));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
        Some(bad) => Err(BadId::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an id: ASCII letters, digits, `_` and `-`, so that it is safe as one component of a path.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                check(text).map(|()| Self(text.to_owned()))
            }

            /// Makes an id of 64 hex digits from 32 random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; 32]) -> Self {
                use fmt::Write;
                let mut text = String::with_capacity(64);
                for byte in bytes {
                    write!(text, "{byte:02x}").expect("writing to a string does not fail");
                }
                Self(text)
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

opaque_id!(
    /// A sandbox; 64 hex digits.
    SandboxId
);
opaque_id!(
    /// A container; 64 hex digits.
    ContainerId
);

impl SandboxId {
    /// Returns the sandbox of a container alone: it has the container's id, so that who knows one knows the other.
    #[must_use]
    pub fn alone(container: &ContainerId) -> Self {
        Self(container.0.clone())
    }
}

/// A sandbox or a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectId {
    /// A sandbox.
    Sandbox(SandboxId),
    /// A container.
    Container(ContainerId),
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(id) => write!(f, "sandbox {id}"),
            Self::Container(id) => write!(f, "container {id}"),
        }
    }
}

/// An opaque partition, given by a facade; a facade sees only its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Namespace(pub String);

/// What makes a request the same request when it comes again, as its facade writes it.
///
/// A sandbox: namespace, name, uid, attempt. A container: sandbox, name, attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NaturalKey(pub String);

impl fmt::Display for NaturalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `sha256:` and 64 lower-case hex digits: the digest of stored bytes. OCI image-spec, descriptor.md "Digests".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a string is not a digest we accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest of the form sha256: and 64 lower-case hex digits")]
pub struct BadDigest(pub String);

impl Digest {
    /// Parses `sha256:<64 lower-case hex digits>`. CVE-2024-3727: never let an unchecked digest reach a path.
    pub fn parse(text: &str) -> Result<Self, BadDigest> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| BadDigest(text.chars().take(100).collect()))?;
        let good = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(BadDigest(text.chars().take(100).collect())) }
    }

    /// Returns the whole text, algorithm included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 64 hex digits, safe as one component of a path.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(text: String) -> Result<Self, BadDigest> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

/// An image: the digest of its config, the one id on every side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub Digest);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_mean_a_path_are_refused() {
        for (text, expected) in [
            ("", BadId::Empty),
            ("a/b", BadId::Character('/')),
            ("..", BadId::Character('.')),
            ("a\0b", BadId::Character('\0')),
        ] {
            assert_eq!(SandboxId::parse(text), Err(expected));
        }
        assert_eq!(ContainerId::parse(&"a".repeat(129)), Err(BadId::TooLong(129)));
        assert!(ContainerId::parse("0f-_A").is_ok());
    }

    #[test]
    fn digests_are_checked_to_the_last_digit() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().hex(), "0a".repeat(32));
        for bad in ["sha256:../../x", "sha256:", "md5:00", &good.to_uppercase(), &good[..70], &format!("{good}0")] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
