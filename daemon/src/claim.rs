//! Names on the host that two daemons must not share: who has them is written down where every daemon looks.
//!
//! Each daemon keeps a file in one well-known folder, locked for as long as it lives; the kernel lets go of the lock when it
//! dies. A start that would share a name with a locked file is refused and says with whom. Whoever changes the folder holds
//! the folder's own lock, for a moment.

use crate::config::Config;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::warn;

/// The one folder that is not derived from `--root`: daemons with different roots must find each other in it.
const CLAIMS_DIR: &str = "/run/orlop-claims";
/// Largest claim; a larger file is not ours.
const CLAIM_BYTES_MAX: u64 = 64 << 10;

/// How long a start waits for its turn: another one's turn takes milliseconds, unless that one is stopped in the middle.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two tries to get a turn.
const TURN_PAUSE: Duration = Duration::from_millis(5);

/// What a daemon has for itself. What an older or newer daemon does not say is empty, and shared with nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Names {
    pid: u32,
    root: PathBuf,
    run: PathBuf,
    socket: PathBuf,
    cgroup_root: String,
    ipam_dir: PathBuf,
    /// Inode of the network namespace: links, subnets and tables of different ones don't meet.
    netns: u64,
    bridge: String,
    subnet: String,
    nft_table: String,
    docker_bridge: String,
    docker_subnet: String,
    docker_nft_table: String,
}

/// A claim held. Given up when dropped, or when the process dies.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    path: PathBuf,
    /// Keeps the lock.
    _file: File,
}

/// Why a claim could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another daemon has something of it.
    #[error("{setting} {value} is in use by the orlopd with pid {pid} and root {}; give this one another {setting}", root.display())]
    Shared {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Who has it.
        pid: u32,
        /// Its root.
        root: PathBuf,
    },
    /// The folder can't be used.
    #[error("look for other daemons in {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
}

impl Claim {
    /// Claims the names in the settings, unless a live daemon has one of them.
    pub fn take(config: &Config) -> Result<Self, Refused> {
        Self::take_in(Path::new(CLAIMS_DIR), config)
    }

    fn take_in(dir: &Path, config: &Config) -> Result<Self, Refused> {
        let failed = |source| Refused::Folder { path: dir.to_owned(), source };
        let mine = Names::of(config).map_err(failed)?;
        // Two daemons that start at once take turns.
        let _turn = lock_folder(dir).map_err(failed)?;
        for there in live_claims(dir).map_err(failed)? {
            if let Some((setting, value)) = shared(&mine, &there) {
                return Err(Refused::Shared { setting, value, pid: there.pid, root: there.root });
            }
        }
        let hash = Sha256::digest(mine.root.as_os_str().as_encoded_bytes());
        let path = dir.join(hex::encode(&hash[..8]));
        let file = write_claim(&path, &mine).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), path, _file: file })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The last one out takes the folder; another daemon's file keeps it. Without a turn everything stays: the lock goes
        // with the process, and the next start takes the file away.
        if let Ok(_turn) = lock_folder(&self.dir) {
            drop(fs::remove_file(&self.path));
            drop(fs::remove_dir(&self.dir));
        }
    }
}

impl Names {
    fn of(config: &Config) -> io::Result<Self> {
        Ok(Self {
            pid: std::process::id(),
            root: resolved(&config.root),
            run: resolved(&config.run),
            socket: resolved(&config.socket),
            cgroup_root: config.cgroup_root.clone(),
            ipam_dir: resolved(&config.ipam_dir),
            netns: fs::metadata("/proc/self/ns/net")?.ino(),
            bridge: config.bridge.clone(),
            subnet: config.subnet.to_string(),
            nft_table: config.nft_table.clone(),
            docker_bridge: config.docker_bridge.clone(),
            docker_subnet: config.docker_subnet.to_string(),
            docker_nft_table: config.docker_nft_table.clone(),
        })
    }

    /// Returns the names of its networks' parts: bridges, subnets, tables, each with its setting.
    fn networks(&self) -> [[(&'static str, &str); 2]; 3] {
        [
            [("bridge", &self.bridge), ("docker_bridge", &self.docker_bridge)],
            [("subnet", &self.subnet), ("docker_subnet", &self.docker_subnet)],
            [("nft_table", &self.nft_table), ("docker_nft_table", &self.docker_nft_table)],
        ]
    }
}

/// Returns a path without links, as far as it exists: two names of one folder are one.
fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match there {
        Some((above, real)) => real.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path.to_owned(),
    }
}

/// Returns the first setting two daemons would share, and its value.
fn shared(mine: &Names, there: &Names) -> Option<(&'static str, String)> {
    let same_net = mine.netns == there.netns;
    let checks = [
        ("root", mine.root == there.root, mine.root.display().to_string()),
        ("run", mine.run == there.run, mine.run.display().to_string()),
        ("socket", mine.socket == there.socket, mine.socket.display().to_string()),
        ("cgroup_root", nested(&mine.cgroup_root, &there.cgroup_root), mine.cgroup_root.clone()),
        ("ipam_dir", mine.ipam_dir == there.ipam_dir, mine.ipam_dir.display().to_string()),
    ];
    let first = checks.into_iter().find(|(_, same, _)| *same).map(|(setting, _, value)| (setting, value));
    first.or_else(|| if same_net { shared_network(mine, there) } else { None })
}

/// Returns the first part of a network that two daemons would share: any of the one's with any of the other's.
fn shared_network(mine: &Names, there: &Names) -> Option<(&'static str, String)> {
    for (mine, there) in mine.networks().iter().zip(&there.networks()) {
        for (setting, own) in mine {
            let same = |other: &str| !own.is_empty() && (*own == other || overlap(own, other));
            if there.iter().any(|(_, other)| same(other)) {
                return Some((setting, (*own).to_owned()));
            }
        }
    }
    None
}

/// Returns whether one cgroup is, or lies in, the other: a daemon sweeps everything below its own.
fn nested(one: &str, other: &str) -> bool {
    let known = !one.is_empty() && !other.is_empty();
    known && (Path::new(one).starts_with(other) || Path::new(other).starts_with(one))
}

/// Returns whether two networks have an address in common; what can't be read has none.
fn overlap(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<crate::config::Subnet>(), other.parse::<crate::config::Subnet>()) else {
        return false;
    };
    one.overlaps(&other)
}

/// Waits for a turn to change the folder, and makes the folder where it is missing.
fn lock_folder(dir: &Path) -> io::Result<File> {
    let deadline = Instant::now() + TURN_WITHIN;
    loop {
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            // It was there when it was to be made, and the last daemon out took it before it could be looked at.
            Err(raced) if raced.kind() == io::ErrorKind::AlreadyExists && Instant::now() < deadline => continue,
            made => made?,
        }
        let folder = match File::open(dir) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound && Instant::now() < deadline => continue,
            opened => opened?,
        };
        match folder.try_lock() {
            // A lock on a folder that was taken away meanwhile is no turn.
            Ok(()) if same_file(&folder, dir) => return Ok(folder),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(TURN_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another orlopd has been starting for {TURN_WITHIN:?}; end it, or wait for it");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Err(TryLockError::Error(wrong)) => return Err(wrong),
        }
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

/// Reads the claims of daemons that live; deletes those of daemons that don't. What can't be read is named and passed over:
/// a file that nobody understands must not stop every start for ever.
fn live_claims(dir: &Path) -> io::Result<Vec<Names>> {
    let mut live = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match live_claim(&path) {
            Ok(claim) => live.extend(claim),
            Err(wrong) => {
                warn!(path = %path.display(), error = %wrong, "a claim can't be read; whose it is may share a name with us");
            }
        }
    }
    Ok(live)
}

/// Returns what a daemon claims that lives; deletes the claim of one that doesn't.
fn live_claim(path: &Path) -> io::Result<Option<Names>> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.take(CLAIM_BYTES_MAX).read_to_string(&mut text)?;
            serde_json::from_str(&text).map(Some).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))
        }
        Err(TryLockError::Error(wrong)) => Err(wrong),
    }
}

fn write_claim(path: &Path, names: &Names) -> io::Result<File> {
    let mut file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.try_lock().map_err(|wrong| io::Error::other(format!("lock {}: {wrong}", path.display())))?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(names)?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &str, netns: u64, bridge: &str, subnet: &str) -> Names {
        Names {
            pid: 1,
            root: root.into(),
            run: format!("{root}/run").into(),
            socket: format!("{root}/run/orlopd.sock").into(),
            cgroup_root: root.to_owned(),
            ipam_dir: format!("{root}/ipam").into(),
            netns,
            bridge: bridge.to_owned(),
            subnet: subnet.to_owned(),
            nft_table: root.to_owned(),
            docker_bridge: format!("{bridge}d"),
            docker_subnet: String::new(),
            docker_nft_table: format!("{root}_d"),
        }
    }

    /// Settings of a daemon that shares nothing with one of another number.
    fn config(dir: &Path, n: u8) -> Config {
        let root = dir.join(format!("root{n}"));
        fs::create_dir_all(&root).unwrap();
        Config {
            run: root.join("run"),
            socket: root.join("run/orlopd.sock"),
            stream_listen: ([127, 0, 0, 1], 0).into(),
            bridge: format!("br{n}"),
            subnet: format!("10.{n}.0.0/16").parse().unwrap(),
            nat: crate::config::Nat::On,
            nft_table: format!("t{n}"),
            docker_bridge: format!("br{n}d"),
            docker_subnet: format!("10.{}.0.0/16", 100 + n).parse().unwrap(),
            docker_nft_table: format!("t{n}_d"),
            cgroup_root: format!("/c{n}"),
            ipam_dir: root.join("ipam"),
            shim: "/shim".into(),
            certs_dir: "/certs".into(),
            metrics_listen: None,
            metrics_reach: crate::endpoint::Reach::Host,
            docker_socket: None,
            docker_group: None,
            log_format: crate::config::LogFormat::Text,
            root,
        }
    }

    #[test]
    fn of_two_that_start_at_once_one_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let claims = dir.path().join("claims");
        for _ in 0..50 {
            let (one, two) = (config(dir.path(), 1), config(dir.path(), 2));
            let two = Config { bridge: one.bridge.clone(), ..two };
            let (a, b) = std::thread::scope(|scope| {
                let a = scope.spawn(|| Claim::take_in(&claims, &one));
                let b = scope.spawn(|| Claim::take_in(&claims, &two));
                (a.join().unwrap(), b.join().unwrap())
            });
            let refused = match (&a, &b) {
                (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused.to_string(),
                other => panic!("{other:?}"),
            };
            assert!(refused.contains("bridge br1 is in use") && refused.contains("root"), "{refused}");
        }
        assert!(!claims.exists(), "the last one out takes the folder");
    }

    #[test]
    fn daemons_that_come_and_go_never_take_the_folder_from_under_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let claims = dir.path().join("claims");
        std::thread::scope(|scope| {
            for n in 1..5 {
                let (config, claims) = (config(dir.path(), n), &claims);
                scope.spawn(move || {
                    for _ in 0..50 {
                        drop(Claim::take_in(claims, &config).unwrap());
                    }
                });
            }
        });
        assert!(!claims.exists());
    }

    #[test]
    fn what_a_dead_daemon_left_is_cleared_and_what_nobody_understands_stops_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let claims = dir.path().join("claims");
        fs::create_dir_all(claims.join("a folder")).unwrap();
        fs::write(claims.join("stale"), b"{").unwrap();
        fs::write(claims.join("strange"), b"not ours").unwrap();
        let strange = File::open(claims.join("strange")).unwrap();
        strange.lock().unwrap();
        let claim = Claim::take_in(&claims, &config(dir.path(), 1)).unwrap();
        assert!(!claims.join("stale").exists());
        drop(claim);
        assert!(claims.join("strange").exists());
    }

    #[test]
    fn two_names_of_one_folder_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let claims = dir.path().join("claims");
        let one = config(dir.path(), 1);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&one.root, &link).unwrap();
        let _claim = Claim::take_in(&claims, &one).unwrap();
        let two = Config { root: link, ..config(dir.path(), 2) };
        let refused = Claim::take_in(&claims, &two).unwrap_err().to_string();
        assert!(refused.starts_with("root "), "{refused}");
    }

    #[test]
    fn a_shared_name_is_found_and_named() {
        let one = names("/a", 1, "br0", "10.1.0.0/16");
        for (other, expected) in [
            (names("/a", 2, "br1", "10.2.0.0/16"), Some("root")),
            (names("/b", 1, "br0", "10.2.0.0/16"), Some("bridge")),
            (names("/b", 1, "br1", "10.1.2.0/24"), Some("subnet")),
            (Names { socket: "/a/run/orlopd.sock".into(), ..names("/b", 2, "br0", "10.1.0.0/16") }, Some("socket")),
            (Names { cgroup_root: "/a/b".into(), ..names("/b", 2, "br0", "10.1.0.0/16") }, Some("cgroup_root")),
            (Names { cgroup_root: "/ab".into(), ..names("/b", 2, "br0", "10.1.0.0/16") }, None),
            (Names { docker_bridge: "br0".into(), ..names("/b", 1, "br1", "10.2.0.0/16") }, Some("bridge")),
            (Names { docker_subnet: "10.0.0.0/8".into(), ..names("/b", 1, "br1", "11.0.0.0/16") }, Some("subnet")),
            (Names { bridge: "br0d".into(), ..names("/b", 1, "br1", "10.2.0.0/16") }, Some("docker_bridge")),
            (Names { pid: 7, ..Names::default() }, None),
            (names("/b", 2, "br0", "10.1.0.0/16"), None),
            (names("/b", 1, "br1", "10.2.0.0/16"), None),
        ] {
            assert_eq!(shared(&one, &other).map(|(setting, _)| setting), expected, "{other:?}");
        }
    }
}
