//! Names on the host that two daemons must not share: who has them is written down where every daemon looks.
//!
//! Each daemon keeps a file in one well-known folder, locked for as long as it lives; the kernel lets go of the lock when it
//! dies. A start that would share a name with a locked file is refused and says with whom.

use crate::config::Config;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The one folder that is not derived from `--root`: daemons with different roots must find each other in it.
const CLAIMS_DIR: &str = "/run/orlop-claims";
/// Largest claim; a larger file is not ours.
const CLAIM_BYTES_MAX: u64 = 64 << 10;

/// What a daemon has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Names {
    pid: u32,
    root: PathBuf,
    run: PathBuf,
    cgroup_root: String,
    ipam_dir: PathBuf,
    /// Inode of the network namespace: links, subnets and tables of different ones don't meet.
    netns: u64,
    bridge: String,
    subnet: String,
    nft_table: String,
}

/// A claim held. Given up when dropped, or when the process dies.
#[derive(Debug)]
pub struct Claim {
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
        let dir = Path::new(CLAIMS_DIR);
        let failed = |source| Refused::Folder { path: dir.to_owned(), source };
        let mine = Names::of(config).map_err(failed)?;
        // Two daemons that start at once take turns.
        let _turn = lock_folder(dir).map_err(failed)?;
        for there in live_claims(dir).map_err(failed)? {
            if let Some((setting, value)) = shared(&mine, &there) {
                return Err(Refused::Shared { setting, value, pid: there.pid, root: there.root });
            }
        }
        let hash = Sha256::digest(config.root.as_os_str().as_encoded_bytes());
        let path = dir.join(hex::encode(&hash[..8]));
        let file = write_claim(&path, &mine).map_err(failed)?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The last one out takes the folder; another daemon's file keeps it.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_dir(CLAIMS_DIR));
    }
}

impl Names {
    fn of(config: &Config) -> io::Result<Self> {
        Ok(Self {
            pid: std::process::id(),
            root: config.root.clone(),
            run: config.run.clone(),
            cgroup_root: config.cgroup_root.clone(),
            ipam_dir: config.ipam_dir.clone(),
            netns: fs::metadata("/proc/self/ns/net")?.ino(),
            bridge: config.bridge.clone(),
            subnet: config.subnet.to_string(),
            nft_table: config.nft_table.clone(),
        })
    }
}

/// Returns the first setting two daemons would share, and its value.
fn shared(mine: &Names, there: &Names) -> Option<(&'static str, String)> {
    let same_net = mine.netns == there.netns;
    let checks = [
        ("root", mine.root == there.root, mine.root.display().to_string()),
        ("run", mine.run == there.run, mine.run.display().to_string()),
        ("cgroup_root", mine.cgroup_root == there.cgroup_root, mine.cgroup_root.clone()),
        ("ipam_dir", mine.ipam_dir == there.ipam_dir, mine.ipam_dir.display().to_string()),
        ("bridge", same_net && mine.bridge == there.bridge, mine.bridge.clone()),
        ("subnet", same_net && overlap(&mine.subnet, &there.subnet), mine.subnet.clone()),
        ("nft_table", same_net && mine.nft_table == there.nft_table, mine.nft_table.clone()),
    ];
    checks.into_iter().find(|(_, same, _)| *same).map(|(setting, _, value)| (setting, value))
}

/// Returns whether two networks have an address in common; what can't be read is taken to.
fn overlap(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<crate::config::Subnet>(), other.parse::<crate::config::Subnet>()) else {
        return true;
    };
    let shift = 32 - u32::from(one.prefix.min(other.prefix));
    let cut = |address: std::net::Ipv4Addr| u32::from(address).checked_shr(shift).unwrap_or(0);
    cut(one.network) == cut(other.network)
}

fn lock_folder(dir: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let folder = File::open(dir)?;
    folder.lock()?;
    Ok(folder)
}

/// Reads the claims of daemons that live; deletes those of daemons that don't.
fn live_claims(dir: &Path) -> io::Result<Vec<Names>> {
    let mut live = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => fs::remove_file(&path)?,
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.take(CLAIM_BYTES_MAX).read_to_string(&mut text)?;
                let bad = |wrong| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {wrong}", path.display()));
                live.push(serde_json::from_str(&text).map_err(bad)?);
            }
            Err(TryLockError::Error(wrong)) => return Err(wrong),
        }
    }
    Ok(live)
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
            cgroup_root: root.to_owned(),
            ipam_dir: format!("{root}/ipam").into(),
            netns,
            bridge: bridge.to_owned(),
            subnet: subnet.to_owned(),
            nft_table: root.to_owned(),
        }
    }

    #[test]
    fn a_shared_name_is_found_and_named() {
        let one = names("/a", 1, "br0", "10.1.0.0/16");
        for (other, expected) in [
            (names("/a", 2, "br1", "10.2.0.0/16"), Some("root")),
            (names("/b", 1, "br0", "10.2.0.0/16"), Some("bridge")),
            (names("/b", 1, "br1", "10.1.2.0/24"), Some("subnet")),
            (names("/b", 2, "br0", "10.1.0.0/16"), None),
            (names("/b", 1, "br1", "10.2.0.0/16"), None),
        ] {
            assert_eq!(shared(&one, &other).map(|(setting, _)| setting), expected, "{other:?}");
        }
    }
}
