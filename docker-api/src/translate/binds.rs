//! Folders of the node, volumes, and file systems in memory, mounted inside.

use super::Result;
use super::volumes::{Mounted as VolumeMounted, Sources, Wanted};
use crate::dto::config::Config;
use crate::dto::host_config::{HostConfig, Mount as Asked};
use crate::http::error::ApiError;
use crate::volumes::VolumeUse;
use orlop_model::container::{MissingSource, Mount, MountAccess, Propagation, Tmpfs, TmpfsAccess};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// What is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) tmpfs: Vec<Tmpfs>,
    /// Those of the mounts that are volumes.
    pub(crate) volumes: Vec<VolumeUse>,
}

impl Mounted {
    fn add(&mut self, volume: VolumeMounted) {
        self.mounts.push(volume.mount);
        self.volumes.push(volume.of);
    }
}

/// Checks everything that is to be mounted; a target can be had once.
pub(crate) fn mounted(config: &Config, host: &HostConfig, sources: &Sources<'_>) -> Result<Mounted> {
    let mut all = Mounted::default();
    let mut targets = BTreeSet::new();
    let mut take = |target: &Path| match targets.insert(target.to_owned()) {
        true => Ok(()),
        false => Err(ApiError::bad(format!("Duplicate mount point: {}", target.display()))),
    };
    for text in host.binds.iter().flatten() {
        match bind(text, &host.volume_driver, sources)? {
            Bound::Folder(mount) => {
                take(&mount.target)?;
                all.mounts.push(mount);
            }
            Bound::Volume(volume) => {
                take(&volume.of.target)?;
                all.add(volume);
            }
        }
    }
    for asked in host.mounts.iter().flatten() {
        match asked.kind.as_str() {
            "bind" => all.mounts.push(long_bind(asked)?),
            "tmpfs" => all.tmpfs.push(long_tmpfs(asked)?),
            "volume" => all.add(sources.long(asked, inside(&asked.target, "Target")?)?),
            "image" | "cluster" => {
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
    rest(config, host, sources, targets, all)
}

/// Adds what others have and what the config names, where nothing else was asked for.
fn rest(
    config: &Config,
    host: &HostConfig,
    sources: &Sources<'_>,
    mut targets: BTreeSet<PathBuf>,
    mut all: Mounted,
) -> Result<Mounted> {
    for (mount, of) in sources.of_others(host)? {
        if targets.insert(mount.target.clone()) {
            all.mounts.push(mount);
            all.volumes.extend(of);
        }
    }
    for text in config.volumes.iter().flatten().map(|(target, _)| target) {
        let target = inside(text, "mount path")?;
        if targets.insert(target.clone()) {
            all.add(sources.volume(Wanted {
                name: None,
                target,
                access: MountAccess::ReadWrite,
                copies: true,
                labels: Default::default(),
                driver: &host.volume_driver,
            })?);
        }
    }
    Ok(all)
}

/// What a text in the shorter form asks for.
enum Bound {
    Folder(Mount),
    Volume(VolumeMounted),
}

/// Parses `source:target[:options]`, and `target` alone.
fn bind(text: &str, driver: &str, sources: &Sources<'_>) -> Result<Bound> {
    let bad = |why: &str| ApiError::bad(format!("invalid volume specification: '{text}'{why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] if !target.is_empty() => (None, target, ""),
        [source, target] if !source.is_empty() && !target.is_empty() => (Some(source), target, ""),
        [source, target, options] if !source.is_empty() && !target.is_empty() => (Some(source), target, options),
        _ => return Err(bad("")),
    };
    if !target.starts_with('/') {
        return Err(bad(&format!(": invalid mount path: '{target}' mount path must be absolute")));
    }
    let target = inside(target, "mount path")?;
    let wrong_mode = || bad(&format!(": invalid mode: {options}"));
    let options = options.split(',').filter(|option| !option.is_empty());
    let Some(source) = source.filter(|source| source.starts_with('/')) else {
        let (access, copies) = of_volume(options).ok_or_else(wrong_mode)?;
        let wanted = Wanted { name: source, target, access, copies, labels: Default::default(), driver };
        return sources.volume(wanted).map(Bound::Volume);
    };
    let mut mount = Mount::new(target, outside(source)?);
    // What users of dockerd are used to: a folder is made.
    mount.missing = MissingSource::MakeFolder;
    for option in options {
        match option {
            "ro" => mount.access = MountAccess::ReadOnly,
            // Labels of SELinux, and hints for macOS: nothing here knows them.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "nocopy" => {}
            other => mount.propagation = propagation(other).ok_or_else(wrong_mode)?,
        }
    }
    Ok(Bound::Folder(mount))
}

/// Returns how a volume is mounted, and whether it is filled; `None` for an option that is none.
fn of_volume<'a>(options: impl Iterator<Item = &'a str>) -> Option<(MountAccess, bool)> {
    let (mut access, mut copies) = (MountAccess::ReadWrite, true);
    for option in options {
        match option {
            "ro" => access = MountAccess::ReadOnly,
            "nocopy" => copies = false,
            "rw" | "z" | "Z" => {}
            _ => return None,
        }
    }
    Some((access, copies))
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
        of(&Config::default(), &HostConfig { binds, ..HostConfig::default() }).map(|mounted| mounted.mounts)
    }

    /// Volumes are in `/v`, made-up names are all `made`, and other containers have `/x` of volume `theirs`.
    fn of(config: &Config, host: &HostConfig) -> Result<Mounted> {
        let theirs = |_: &str| {
            let of = VolumeUse { name: "theirs".into(), target: "/x".into(), copies: true, ..VolumeUse::default() };
            Ok(vec![(Mount::new("/x", "/v/theirs/_data"), Some(of))])
        };
        let sources = Sources { volumes: Path::new("/v"), make_up: &|| "made".to_owned(), find: &theirs };
        mounted(config, host, &sources)
    }

    #[test]
    fn volumes_have_names_or_are_made_and_others_are_where_nothing_else_is() {
        let config = |target: &str| {
            let volumes = Some([(target.to_owned(), crate::dto::Nothing {})].into());
            Config { volumes, ..Config::default() }
        };
        let host = |binds: &[&str], from: &[&str]| HostConfig {
            binds: Some(binds.iter().map(|text| (*text).to_owned()).collect()),
            volumes_from: Some(from.iter().map(|text| (*text).to_owned()).collect()),
            ..HostConfig::default()
        };
        let all = of(&config("/c"), &host(&["named:/a:ro", "/b", "/n:/x"], &["other"])).unwrap();
        let seen: Vec<_> =
            all.mounts.iter().map(|mount| (mount.target.to_str().unwrap(), mount.source.to_str().unwrap())).collect();
        assert_eq!(seen, [("/a", "/v/named/_data"), ("/b", "/v/made/_data"), ("/x", "/n"), ("/c", "/v/made/_data")]);
        assert_eq!(all.mounts[0].access, MountAccess::ReadOnly);
        let seen: Vec<_> = all.volumes.iter().map(|of| (of.name.as_str(), of.anonymous, of.copies)).collect();
        assert_eq!(seen, [("named", false, true), ("made", true, true), ("made", true, true)]);
        let all = of(&config("/x"), &host(&[], &["other:ro"])).unwrap();
        assert_eq!((all.mounts.len(), all.mounts[0].access), (1, MountAccess::ReadOnly));
        assert_eq!((all.volumes[0].name.as_str(), all.volumes[0].copies), ("theirs", false));
        assert!(of(&config("/x"), &host(&[], &["other:rx"])).is_err());
        // A driver that is not there is only missed when it has something to make.
        let driver = HostConfig { volume_driver: "foo".into(), ..HostConfig::default() };
        assert!(of(&Config::default(), &driver).is_ok());
        assert_eq!(of(&config("/x"), &driver).unwrap_err().status().as_u16(), 404);
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
            ("a/b:/b", 400, "use absolute path"),
            ("name:/b:rslave", 400, "invalid mode: rslave"),
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
            super::tests::of(&Config::default(), &HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() })
        };
        assert_eq!(of("volume", "vol").unwrap().volumes[0].name, "vol");
        assert_eq!(of("bind", "/a").unwrap().mounts[0].missing, MissingSource::Refuse);
        assert_eq!(of("tmpfs", "").unwrap().tmpfs[0].access, TmpfsAccess::ReadOnly);
        for (kind, source, status) in
            [("bind", "", 400), ("bind", "a", 400), ("tmpfs", "/a", 400), ("volume", "v", 400), ("x", "", 400)]
        {
            assert_eq!(of(kind, source).unwrap_err().status().as_u16(), status, "{kind} {source}");
        }
    }
}
