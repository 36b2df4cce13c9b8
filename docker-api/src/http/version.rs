//! Versions of the API: which we speak, and which one a path asks for.

use super::error::ApiError;
use std::fmt;

/// The newest version served: the last one that has the fields of inspect that older clients read (1.52 drops them).
pub(crate) const MAX: Version = Version { major: 1, minor: 51 };
/// The oldest version served: what dockerd itself goes down to.
pub(crate) const MIN: Version = Version { major: 1, minor: 24 };

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    /// Returns version 1.`minor`.
    pub(crate) const fn v1(minor: u16) -> Self {
        Self { major: 1, minor }
    }

    /// Parses `1.45`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let digits = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
        (digits(major) && digits(minor)).then_some(())?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Splits a path into the version it asks for and the rest; without a version it asks for the newest.
pub(crate) fn split(path: &str) -> Result<(Version, &str), ApiError> {
    let Some((first, rest)) = path.strip_prefix("/v").and_then(|after| after.split_once('/')) else {
        return Ok((MAX, path));
    };
    let Some(version) = Version::parse(first) else { return Ok((MAX, path)) };
    if version < MIN {
        return Err(ApiError::bad(format!(
            "client version {version} is too old. Minimum supported API version is {MIN}, please upgrade your client to a newer version"
        )));
    }
    if version > MAX {
        return Err(ApiError::bad(format!(
            "client version {version} is too new. Maximum supported API version is {MAX}"
        )));
    }
    // The slash before it belongs to the rest.
    Ok((version, &path[path.len() - rest.len() - 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_version_or_takes_the_newest() {
        assert_eq!(split("/v1.30/info").unwrap(), (Version::v1(30), "/info"));
        assert_eq!(split("/info").unwrap(), (MAX, "/info"));
        assert_eq!(split("/volumes").unwrap(), (MAX, "/volumes"));
        assert_eq!(split("/vx.1/info").unwrap(), (MAX, "/vx.1/info"));
    }

    #[test]
    fn versions_out_of_range_are_refused_in_the_words_clients_know() {
        let old = split("/v1.12/info").unwrap_err();
        assert_eq!(
            old.message(),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        let new = split("/v1.99/info").unwrap_err();
        assert_eq!(new.message(), "client version 1.99 is too new. Maximum supported API version is 1.51");
        assert!(split("/v2.0/info").is_err());
    }
}
