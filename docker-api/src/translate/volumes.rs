//! Volumes that a container asks for: by name, or with one made for it.

use super::Result;
use crate::dto::TextMap;
use crate::dto::host_config::{HostConfig, Mount as Asked};
use crate::http::error::ApiError;
use crate::volumes::{LOCAL, VolumeUse, data};
use orlop_model::container::{Mount, MountAccess};
use std::path::{Path, PathBuf};

/// A volume and how it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) mount: Mount,
    pub(crate) of: VolumeUse,
}

/// Finds the mounts of another container; those of volumes with the volume.
pub(crate) type FindMounts<'a> = &'a (dyn Fn(&str) -> Result<Vec<(Mount, Option<VolumeUse>)>> + Sync);

/// What mounts are made of, beside the request.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// Folder of all volumes.
    pub(crate) volumes: &'a Path,
    /// Makes up the name of a volume.
    pub(crate) make_up: &'a (dyn Fn() -> String + Sync),
    /// Finds a container whose volumes are wanted.
    pub(crate) find: FindMounts<'a>,
}

/// What is wanted of one volume.
pub(crate) struct Wanted<'a> {
    /// `None` has one made.
    pub(crate) name: Option<&'a str>,
    pub(crate) target: PathBuf,
    pub(crate) access: MountAccess,
    pub(crate) copies: bool,
    pub(crate) labels: TextMap,
    /// Empty is the usual one.
    pub(crate) driver: &'a str,
}

impl Sources<'_> {
    /// Returns the mount of a volume.
    pub(crate) fn volume(&self, wanted: Wanted<'_>) -> Result<Mounted> {
        check_driver(wanted.driver)?;
        let name = match wanted.name {
            Some(name) => check_name(name)?.to_owned(),
            None => (self.make_up)(),
        };
        let mut mount = Mount::new(&wanted.target, data(self.volumes, &name));
        mount.access = wanted.access;
        let of = VolumeUse {
            name,
            target: wanted.target,
            copies: wanted.copies,
            labels: wanted.labels,
            anonymous: wanted.name.is_none(),
        };
        Ok(Mounted { mount, of })
    }

    /// Returns the mount of a volume asked for in the longer form.
    pub(crate) fn long(&self, asked: &Asked, target: PathBuf) -> Result<Mounted> {
        let invalid = |why: &str| ApiError::bad(format!("invalid mount config for type \"volume\": {why}"));
        if asked.bind_options.is_some() {
            return Err(invalid("field BindOptions must not be specified"));
        }
        if asked.tmpfs_options.is_some() {
            return Err(invalid("field TmpfsOptions must not be specified"));
        }
        let options = asked.volume_options.clone().unwrap_or_default();
        let driver = options.driver_config.unwrap_or_default().name;
        self.volume(Wanted {
            name: Some(asked.source.as_str()).filter(|name| !name.is_empty()),
            target,
            access: if asked.read_only { MountAccess::ReadOnly } else { MountAccess::ReadWrite },
            copies: !options.no_copy,
            labels: options.labels,
            driver: &driver,
        })
    }

    /// Returns the mounts of the containers whose volumes are wanted: `name[:ro]`.
    pub(crate) fn of_others(&self, host: &HostConfig) -> Result<Vec<(Mount, Option<VolumeUse>)>> {
        let mut all = Vec::new();
        for text in host.volumes_from.iter().flatten() {
            let (name, mode) = text.split_once(':').unwrap_or((text, ""));
            let read_only = match mode {
                "" | "rw" | "z" | "Z" => false,
                "ro" => true,
                other => return Err(ApiError::bad(format!("invalid mode: {other}"))),
            };
            for (mut mount, of) in (self.find)(name)? {
                if read_only && mount.access == MountAccess::ReadWrite {
                    mount.access = MountAccess::ReadOnly;
                }
                // Filled for the container that it was made for, and not of this one's image.
                all.push((mount, of.map(|of| VolumeUse { copies: false, anonymous: false, ..of })));
            }
        }
        Ok(all)
    }
}

/// Checks that a driver is there.
pub(crate) fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "" | LOCAL => Ok(()),
        other => {
            let message = format!("error looking up volume plugin {other}: plugin \"{other}\" not found");
            Err(ApiError::not_found(message))
        }
    }
}

/// Checks a name of a volume.
pub(crate) fn check_name(name: &str) -> Result<&str> {
    /// Longest name of a file.
    const BYTES_MAX: usize = 255;
    let good = name.len() <= BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if !good {
        return Err(ApiError::bad(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    if name.len() < 2 {
        return Err(ApiError::bad("volume name is too short, names should be at least two alphanumeric characters"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_and_say_what_may_have_been_meant() {
        for good in ["ab", "my-volume_1.x"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", "a/b", ".hidden", "a b", &"a".repeat(256)] {
            assert!(check_name(bad).unwrap_err().message().contains("use absolute path"), "{bad}");
        }
        assert!(check_name("a").unwrap_err().message().contains("too short"));
        assert_eq!(
            check_driver("foo").unwrap_err().message(),
            "error looking up volume plugin foo: plugin \"foo\" not found"
        );
    }
}
