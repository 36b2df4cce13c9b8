//! Folders of the node and file systems in memory, mounted inside.

use super::Result;
use crate::dto::host_config::{HostConfig, Mount as Asked};
use crate::http::error::ApiError;
use orlop_model::container::{MissingSource, Mount, MountAccess, Propagation, Tmpfs, TmpfsAccess};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// What is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) tmpfs: Vec<Tmpfs>,
}

/// Checks everything that is to be mounted; a target can be had once.
pub(crate) fn mounted(host: &HostConfig) -> Result<Mounted> {
    let mut all = Mounted::default();
    let mut targets = BTreeSet::new();
    let mut take = |target: &Path| match targets.insert(target.to_owned()) {
        true => Ok(()),
        false => Err(ApiError::bad(format!("Duplicate mount point: {}", target.display()))),
    };
    for text in host.binds.iter().flatten() {
        let mount = bind(text)?;
        take(&mount.target)?;
        all.mounts.push(mount);
    }
    for asked in host.mounts.iter().flatten() {
        match asked.kind.as_str() {
            "bind" => all.mounts.push(long_bind(asked)?),
            "tmpfs" => all.tmpfs.push(long_tmpfs(asked)?),
            "volume" | "image" | "cluster" => {
                return Err(ApiError::not_built(format!("a mount of type {}", asked.kind)));
            }
            other => return Err(ApiError::bad(format!("mount type unknown: {other:?}"))),
        }
        take(&inside(&asked.target, "Target")?)?;
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let tmpfs = tmpfs(target, options)?;
        take(&tmpfs.target)?;
        all.tmpfs.push(tmpfs);
    }
    Ok(all)
}

/// Parses `source:target[:options]`.
fn bind(text: &str) -> Result<Mount> {
    let bad = |why: &str| ApiError::bad(format!("invalid volume specification: '{text}'{why}"));
    let mut parts = text.split(':');
    let (source, target) = match (parts.next(), parts.next()) {
        (Some(source), Some(target)) if !source.is_empty() && !target.is_empty() => (source, target),
        (Some(_), None) => return Err(ApiError::not_built("an anonymous volume")),
        _ => return Err(bad("")),
    };
    let options = parts.next().unwrap_or_default();
    if parts.next().is_some() {
        return Err(bad(""));
    }
    if !target.starts_with('/') {
        return Err(bad(&format!(": invalid mount path: '{target}' mount path must be absolute")));
    }
    if !source.starts_with('/') {
        return Err(ApiError::not_built(format!("a named volume ({source})")));
    }
    let mut mount = Mount::new(inside(target, "mount path")?, outside(source)?);
    // What users of dockerd are used to: a folder is made.
    mount.missing = MissingSource::MakeFolder;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.access = MountAccess::ReadOnly,
            // Labels of SELinux, and hints for macOS: nothing here knows them.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "nocopy" => {}
            other => {
                mount.propagation = propagation(other).ok_or_else(|| bad(&format!(": invalid mode: {options}")))?
            }
        }
    }
    Ok(mount)
}

fn propagation(text: &str) -> Option<Propagation> {
    match text {
        "private" | "rprivate" => Some(Propagation::Private),
        "slave" | "rslave" => Some(Propagation::HostToContainer),
        "shared" | "rshared" => Some(Propagation::Bidirectional),
        _ => None,
    }
}

fn long_bind(asked: &Asked) -> Result<Mount> {
    let invalid = |why: &str| ApiError::bad(format!("invalid mount config for type \"bind\": {why}"));
    if asked.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    if asked.tmpfs_options.is_some() {
        return Err(invalid("field TmpfsOptions must not be specified"));
    }
    if !asked.source.starts_with('/') {
        return Err(invalid(&format!("invalid mount path: '{}' mount path must be absolute", asked.source)));
    }
    let mut mount = Mount::new(inside(&asked.target, "Target")?, outside(&asked.source)?);
    let options = asked.bind_options.clone().unwrap_or_default();
    mount.access = match (asked.read_only, options.read_only_force_recursive) {
        (false, true) => return Err(invalid("field ReadOnlyForceRecursive must not be set without ReadOnly")),
        (false, false) => MountAccess::ReadWrite,
        (true, true) => MountAccess::ReadOnlyRecursive,
        (true, false) => MountAccess::ReadOnly,
    };
    if options.create_mountpoint {
        mount.missing = MissingSource::MakeFolder;
    }
    if !options.propagation.is_empty() {
        let known = propagation(&options.propagation);
        mount.propagation =
            known.ok_or_else(|| invalid(&format!("invalid propagation mode: {}", options.propagation)))?;
    }
    Ok(mount)
}

fn long_tmpfs(asked: &Asked) -> Result<Tmpfs> {
    let invalid = |why: &str| ApiError::bad(format!("invalid mount config for type \"tmpfs\": {why}"));
    if !asked.source.is_empty() {
        return Err(invalid("field Source must not be specified"));
    }
    if asked.bind_options.is_some() {
        return Err(invalid("field BindOptions must not be specified"));
    }
    let mut tmpfs = Tmpfs::new(inside(&asked.target, "Target")?);
    let options = asked.tmpfs_options.clone().unwrap_or_default();
    if let Some(bytes) = options.size_bytes.filter(|bytes| *bytes != 0) {
        tmpfs.bytes_max = Some(u64::try_from(bytes).map_err(|_| invalid("a size below zero"))?);
    }
    if let Some(mode) = options.mode.filter(|mode| *mode != 0) {
        let mode = u32::try_from(mode).ok().filter(|mode| *mode <= 0o7777);
        tmpfs.mode = Some(mode.ok_or_else(|| invalid("a mode has at most four octal digits"))?);
    }
    if asked.read_only {
        tmpfs.access = TmpfsAccess::ReadOnly;
    }
    Ok(tmpfs)
}

/// Parses the options of `--tmpfs`; mount(8).
fn tmpfs(target: &str, options: &str) -> Result<Tmpfs> {
    let mut tmpfs = Tmpfs::new(inside(target, "tmpfs")?);
    let bad = |option: &str| ApiError::bad(format!("invalid tmpfs option {option:?}"));
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", size) => tmpfs.bytes_max = Some(bytes(size).ok_or_else(|| bad(option))?),
            ("mode", mode) => {
                let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
                tmpfs.mode = Some(mode.ok_or_else(|| bad(option))?);
            }
            ("uid", id) => {
                tmpfs.owner = Some((id.parse().map_err(|_| bad(option))?, tmpfs.owner.unwrap_or_default().1))
            }
            ("gid", id) => {
                tmpfs.owner = Some((tmpfs.owner.unwrap_or_default().0, id.parse().map_err(|_| bad(option))?))
            }
            ("ro", "") => tmpfs.access = TmpfsAccess::ReadOnly,
            ("rw", "") => tmpfs.access = TmpfsAccess::ReadWrite,
            ("nosuid", "") => tmpfs.flags.nosuid = true,
            ("suid", "") => tmpfs.flags.nosuid = false,
            ("nodev", "") => tmpfs.flags.nodev = true,
            ("dev", "") => tmpfs.flags.nodev = false,
            ("noexec", "") => tmpfs.flags.noexec = true,
            ("exec", "") => tmpfs.flags.noexec = false,
            // How times of reading are kept, which no program in memory minds.
            ("noatime" | "relatime" | "strictatime" | "atime" | "nodiratime" | "diratime", "") => {}
            _ => return Err(bad(option)),
        }
    }
    Ok(tmpfs)
}

/// Parses `64m`, `1g`, `4096`.
fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[at..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    text[..at].parse::<u64>().ok()?.checked_mul(factor)
}

/// Checks a path inside.
fn inside(text: &str, what: &str) -> Result<PathBuf> {
    let path = clean(text);
    if !text.starts_with('/') {
        return Err(ApiError::bad(format!("invalid mount config: {what} '{text}' must be absolute")));
    }
    if path == Path::new("/") {
        return Err(ApiError::bad("invalid specification: destination can't be '/'"));
    }
    if text.contains('\0') {
        return Err(ApiError::bad(format!("invalid mount config: {what} holds a NUL character")));
    }
    Ok(path)
}

fn outside(text: &str) -> Result<PathBuf> {
    if text.contains('\0') {
        return Err(ApiError::bad("invalid mount config: the source holds a NUL character"));
    }
    Ok(clean(text))
}

/// Resolves `.` and `..` by the letter, as dockerd does; nothing is followed.
fn clean(text: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(texts: &[&str]) -> Result<Vec<Mount>> {
        let binds = Some(texts.iter().map(|text| (*text).to_owned()).collect());
        mounted(&HostConfig { binds, ..HostConfig::default() }).map(|mounted| mounted.mounts)
    }

    #[test]
    fn binds_have_access_and_propagation() {
        let mounts = binds(&["/a:/b", "/a/../c:/d/:ro,z", "/a:/e:rslave,ro"]).unwrap();
        assert_eq!((mounts[0].source.to_str(), mounts[0].target.to_str()), (Some("/a"), Some("/b")));
        assert_eq!((mounts[0].access, mounts[0].missing), (MountAccess::ReadWrite, MissingSource::MakeFolder));
        assert_eq!((mounts[1].source.to_str(), mounts[1].target.to_str()), (Some("/c"), Some("/d")));
        assert_eq!(mounts[1].access, MountAccess::ReadOnly);
        assert_eq!(mounts[2].propagation, Propagation::HostToContainer);
    }

    #[test]
    fn bad_binds_are_refused() {
        for (text, status, says) in [
            ("/a:b", 400, "mount path must be absolute"),
            ("/a:/b:ro:x", 400, "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:nosuch", 400, "invalid mode: nosuch"),
            ("/a:/", 400, "destination can't be '/'"),
            (":/b", 400, "invalid volume specification"),
            ("name:/b", 501, "a named volume (name) is not built yet"),
            ("/data", 501, "an anonymous volume is not built yet"),
        ] {
            let error = binds(&[text]).unwrap_err();
            assert_eq!(error.status().as_u16(), status, "{text}");
            assert!(error.message().contains(says), "{}", error.message());
        }
        assert_eq!(binds(&["/a:/b", "/c:/b/"]).unwrap_err().message(), "Duplicate mount point: /b");
    }

    #[test]
    fn file_systems_in_memory_have_options() {
        let one = tmpfs("/run", "size=64m,mode=1770,uid=5,gid=6,exec,ro").unwrap();
        assert_eq!((one.bytes_max, one.mode, one.owner), (Some(64 << 20), Some(0o1770), Some((5, 6))));
        assert_eq!(one.access, TmpfsAccess::ReadOnly);
        assert!(one.flags.nosuid && one.flags.nodev && !one.flags.noexec);
        for bad in ["size=x", "mode=9", "nosuch", "uid=a", "mode=77777"] {
            assert!(tmpfs("/run", bad).is_err(), "{bad}");
        }
        assert!(tmpfs("run", "").is_err());
    }

    #[test]
    fn mounts_in_the_long_form_are_checked() {
        let of = |kind: &str, source: &str| {
            let mount = Asked {
                kind: kind.into(),
                source: source.into(),
                target: "/x".into(),
                read_only: true,
                ..Asked::default()
            };
            mounted(&HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() })
        };
        assert_eq!(of("bind", "/a").unwrap().mounts[0].missing, MissingSource::Refuse);
        assert_eq!(of("tmpfs", "").unwrap().tmpfs[0].access, TmpfsAccess::ReadOnly);
        for (kind, source, status) in
            [("bind", "", 400), ("bind", "a", 400), ("tmpfs", "/a", 400), ("volume", "v", 501), ("x", "", 400)]
        {
            assert_eq!(of(kind, source).unwrap_err().status().as_u16(), status, "{kind} {source}");
        }
    }
}
