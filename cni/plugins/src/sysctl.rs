//! Network sysctls of the calling thread's network namespace: `/proc/sys/net` shows each thread its own.

use crate::error::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

const ROOT: &str = "/proc/sys/net";

/// Whether a setting may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It must be there.
    Fails,
    /// Without it there is nothing to set.
    IsFine,
}

/// Sets a sysctl (`ipv4/ip_forward`) unless it has that value.
pub(crate) fn set(name: &str, value: &str, missing: Missing) -> Result<()> {
    let path = Path::new(ROOT).join(name);
    match fs::read_to_string(&path) {
        Ok(now) if now.trim() == value => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound && missing == Missing::IsFine => Ok(()),
        Err(error) => Err(failed("read", path, error)),
        Ok(_) => fs::write(&path, value).map_err(|error| failed("write to", path, error)),
    }
}

/// Says whether the kernel has IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new(ROOT).join("ipv6").exists()
}

fn failed(tried: &'static str, path: PathBuf, source: io::Error) -> Error {
    Error::File { tried, path, source }
}
