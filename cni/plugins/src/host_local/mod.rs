//! The host-local plugin: addresses from a subnet, each held by one file.
//!
//! The folder has the format of the CNI plugin of that name, so that its tools read it: `<address>` holds the container's
//! id, CR LF and the interface; `last_reserved_ip.<n>` the last address given from the n-th range; `lock` is locked by
//! flock(2) around every change. Addresses go round robin, so that one is not used again while others remember it.
//! What is in the folder is read again only when it has changed.

mod range;

pub use range::Range;

use crate::error::{Error, Result};
use orlop_netlink::Cidr;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for another process to let go of the lock. The plugin as a program holds it for milliseconds.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often the lock is tried meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(2);
/// Bytes read of a file that holds an address: an id of 128 bytes, an interface of 15, and room for others' habits.
const FILE_BYTES_MAX: u64 = 1024;
/// Between id and interface in a file.
const SEPARATOR: &str = "\r\n";

/// Who holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Id of the container, or of the sandbox.
    pub id: String,
    /// Interface inside; empty in files of very old plugins, which then stand for any.
    pub interface: String,
}

/// Addresses of a network, one range per family, with a folder that says who holds which.
#[derive(Debug)]
pub struct Pool {
    folder: PathBuf,
    ranges: Vec<Range>,
    held: BTreeMap<IpAddr, Holder>,
    /// When the folder had changed last when it was read.
    read_at: Option<SystemTime>,
}

// === impl Pool ===

impl Pool {
    /// Makes a pool over a folder, which is made when it is first needed.
    #[must_use]
    pub fn new(folder: PathBuf, ranges: Vec<Range>) -> Self {
        Self { folder, ranges, held: BTreeMap::new(), read_at: None }
    }

    /// Returns the addresses that an interface holds, one of each range, reserving those it does not hold yet.
    /// On disk before it returns.
    ///
    /// # Errors
    /// When a range has no free address, or the folder can't be used; then nothing more is held than before.
    pub fn reserve(&mut self, id: &str, interface: &str) -> Result<Vec<Cidr>> {
        fs::create_dir_all(&self.folder).map_err(self.failed("make folder", &self.folder))?;
        let _lock = self.lock()?;
        self.refresh()?;
        let wanted = Holder { id: id.to_owned(), interface: interface.to_owned() };
        let mut got = Vec::new();
        let mut fresh = Vec::new();
        for index in 0..self.ranges.len() {
            let range = self.ranges[index];
            let own = self.held.iter().find(|(a, h)| h.matches(id, interface) && range.gateway().contains(**a));
            if let Some((own, _)) = own {
                got.push(range.with_prefix(*own));
                continue;
            }
            match self.take(index, &wanted) {
                Ok(own) => {
                    fresh.push(own);
                    got.push(range.with_prefix(own));
                }
                Err(error) => {
                    for own in fresh {
                        self.give_back(own)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(got)
    }

    /// Gives back what an interface holds. Quiet when it holds nothing.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn release(&mut self, id: &str, interface: &str) -> Result<()> {
        if !self.folder_is_there()? {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.refresh()?;
        let own: Vec<IpAddr> =
            self.held.iter().filter(|(_, holder)| holder.matches(id, interface)).map(|(a, _)| *a).collect();
        own.into_iter().try_for_each(|own| self.give_back(own))
    }

    /// Lists every address that is held.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn held(&mut self) -> Result<&BTreeMap<IpAddr, Holder>> {
        if self.folder_is_there()? {
            let _lock = self.lock()?;
            self.refresh()?;
        } else {
            self.held.clear();
            self.read_at = None;
        }
        Ok(&self.held)
    }

    /// Deletes the folder with the memory of what was given last, unless an address is held. Quiet when it is not there.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn remove(&mut self) -> Result<()> {
        if !self.held()?.is_empty() || !self.folder_is_there()? {
            return Ok(());
        }
        let lasts = (0..self.ranges.len()).map(|index| self.last_path(index));
        for path in lasts.chain([self.lock_path()]) {
            quiet_if_missing(fs::remove_file(&path)).map_err(self.failed("delete", &path))?;
        }
        self.read_at = None;
        match fs::remove_dir(&self.folder) {
            // Files of others in it are not ours to delete.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            other => quiet_if_missing(other).map_err(self.failed("delete", &self.folder)),
        }
    }

    /// Takes the next free address of a range.
    fn take(&mut self, index: usize, holder: &Holder) -> Result<IpAddr> {
        let range = self.ranges[index];
        let last = fs::read_to_string(self.last_path(index)).ok().and_then(|text| text.trim().parse().ok());
        for own in range.behind(last) {
            if !self.held.contains_key(&own) && self.write_holder(own, holder)? {
                self.held.insert(own, holder.clone());
                self.remember(index, own)?;
                self.read_at = self.changed_at()?;
                return Ok(own);
            }
        }
        let held = self.held.keys().filter(|own| range.gateway().contains(**own)).count();
        Err(Error::Exhausted { subnet: range.gateway().subnet(), held })
    }

    /// Writes the file of an address; `false` when someone else has it, as only one without regard for the lock could.
    fn write_holder(&self, own: IpAddr, holder: &Holder) -> Result<bool> {
        let path = self.folder.join(own.to_string());
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(self.failed("make", &path)(error)),
        };
        let text = format!("{}{SEPARATOR}{}", holder.id, holder.interface);
        file.write_all(text.as_bytes()).map_err(|error| {
            // A file without an owner would be swept by the next reading; better it is gone now.
            let _ = fs::remove_file(&path);
            self.failed("write", &path)(error)
        })?;
        Ok(true)
    }

    /// Notes the address given last. Written over, not truncated first: ext4 would send a truncated file to the disk at
    /// once, 0.3 ms on a quiet one and many on a busy one. Half written it is no address, and the range starts over.
    fn remember(&self, index: usize, own: IpAddr) -> Result<()> {
        let path = self.last_path(index);
        let text = own.to_string();
        let written = OpenOptions::new().write(true).create(true).truncate(false).open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_len(u64::try_from(text.len()).expect("an address is short"))
        });
        written.map_err(self.failed("write", &path))
    }

    fn give_back(&mut self, own: IpAddr) -> Result<()> {
        let path = self.folder.join(own.to_string());
        quiet_if_missing(fs::remove_file(&path)).map_err(self.failed("delete", &path))?;
        self.held.remove(&own);
        self.read_at = self.changed_at()?;
        Ok(())
    }

    /// Reads the folder again if it has changed. Called with the lock held.
    fn refresh(&mut self) -> Result<()> {
        let changed_at = self.changed_at()?;
        if self.read_at.is_some() && self.read_at == changed_at {
            return Ok(());
        }
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).map_err(self.failed("list", &self.folder))? {
            let entry = entry.map_err(self.failed("list", &self.folder))?;
            let Some(own) = entry.file_name().to_str().and_then(|name| name.parse::<IpAddr>().ok()) else {
                continue;
            };
            let path = entry.path();
            let mut text = String::new();
            let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
            read.map_err(self.failed("read", &path))?;
            match Holder::parse(&text) {
                Some(holder) => {
                    held.insert(own, holder);
                }
                // Someone died, or the power went, between making and writing it: with the lock held nobody is at it.
                None => quiet_if_missing(fs::remove_file(&path)).map_err(self.failed("delete", &path))?,
            }
        }
        self.held = held;
        self.read_at = self.changed_at()?;
        Ok(())
    }

    fn lock(&self) -> Result<File> {
        let path = self.lock_path();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(self.failed("open", &path))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(Error::Locked { path, after: LOCK_WAIT });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::Error(error)) => return Err(self.failed("lock", &path)(error)),
            }
        }
    }

    fn folder_is_there(&self) -> Result<bool> {
        self.folder.try_exists().map_err(self.failed("look for", &self.folder))
    }

    fn changed_at(&self) -> Result<Option<SystemTime>> {
        let changed = fs::metadata(&self.folder).and_then(|metadata| metadata.modified());
        changed.map(Some).map_err(self.failed("look at", &self.folder))
    }

    fn last_path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("last_reserved_ip.{index}"))
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }

    fn failed(&self, tried: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::File { tried, path, source }
    }
}

// === impl Holder ===

impl Holder {
    fn parse(text: &str) -> Option<Self> {
        let (id, interface) = text.trim().split_once(SEPARATOR).unwrap_or((text.trim(), ""));
        (!id.is_empty()).then(|| Self { id: id.to_owned(), interface: interface.to_owned() })
    }

    fn matches(&self, id: &str, interface: &str) -> bool {
        self.id == id && (self.interface == interface || self.interface.is_empty())
    }
}

fn quiet_if_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(text: &str, prefix: u8) -> Range {
        Range::of(Cidr::new(text.parse::<IpAddr>().unwrap(), prefix).unwrap()).unwrap()
    }

    fn pool(folder: &Path, prefix: u8) -> Pool {
        Pool::new(folder.join("default"), vec![range("10.9.0.0", prefix)])
    }

    fn one(pool: &mut Pool, id: &str) -> String {
        pool.reserve(id, "eth0").unwrap()[0].to_string()
    }

    #[test]
    fn files_are_those_of_the_plugin() {
        let root = tempfile::tempdir().unwrap();
        let mut pool = pool(root.path(), 24);
        assert_eq!(one(&mut pool, "abc"), "10.9.0.2/24");
        let read = |name: &str| fs::read_to_string(root.path().join("default").join(name)).unwrap();
        assert_eq!(read("10.9.0.2"), "abc\r\neth0");
        assert_eq!(read("last_reserved_ip.0"), "10.9.0.2");
        assert_eq!(read("lock"), "");
    }

    #[test]
    fn addresses_go_round_before_one_comes_again() {
        let root = tempfile::tempdir().unwrap();
        let mut pool = pool(root.path(), 29);
        assert_eq!(one(&mut pool, "a"), "10.9.0.2/29");
        assert_eq!(one(&mut pool, "a"), "10.9.0.2/29", "the same for the same");
        pool.release("a", "eth0").unwrap();
        pool.release("a", "eth0").unwrap();
        for expected in ["10.9.0.3/29", "10.9.0.4/29", "10.9.0.5/29", "10.9.0.6/29", "10.9.0.2/29", "10.9.0.3/29"] {
            assert_eq!(one(&mut pool, expected), expected);
            pool.release(expected, "eth0").unwrap();
        }
    }

    #[test]
    fn full_pool_says_so_and_works_again_after_a_release() {
        let root = tempfile::tempdir().unwrap();
        let mut pool = pool(root.path(), 30);
        assert_eq!(one(&mut pool, "a"), "10.9.0.2/30");
        let error = pool.reserve("b", "eth0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no address is free in 10.9.0.0/30: 1 are held; remove pods, or give the network a wider subnet"
        );
        pool.release("a", "eth0").unwrap();
        assert_eq!(one(&mut pool, "b"), "10.9.0.2/30");
    }

    #[test]
    fn second_family_failing_gives_the_first_back() {
        let root = tempfile::tempdir().unwrap();
        let both = || vec![range("10.9.0.0", 24), range("fd00::", 126)];
        let mut pool = Pool::new(root.path().to_owned(), both());
        let got: Vec<String> = pool.reserve("a", "eth0").unwrap().iter().map(Cidr::to_string).collect();
        assert_eq!(got, ["10.9.0.2/24", "fd00::2/126"]);
        pool.reserve("b", "eth0").unwrap();
        assert!(matches!(pool.reserve("c", "eth0").unwrap_err(), Error::Exhausted { .. }));
        assert!(pool.held().unwrap().values().all(|holder| holder.id != "c"));
    }

    #[test]
    fn restart_and_foreign_changes_are_seen() {
        let root = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (pool(root.path(), 24), pool(root.path(), 24));
        assert_eq!(one(&mut first, "a"), "10.9.0.2/24");
        assert_eq!(one(&mut second, "a"), "10.9.0.2/24");
        assert_eq!(one(&mut second, "b"), "10.9.0.3/24");
        first.release("b", "eth0").unwrap();
        assert_eq!(second.held().unwrap().len(), 1);
        // A file of a very old plugin, without an interface.
        fs::write(root.path().join("default/10.9.0.9"), "old").unwrap();
        assert_eq!(one(&mut first, "old"), "10.9.0.9/24");
    }

    #[test]
    fn file_without_an_owner_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let mut pool = pool(root.path(), 29);
        fs::create_dir(root.path().join("default")).unwrap();
        fs::write(root.path().join("default/10.9.0.2"), "").unwrap();
        assert_eq!(one(&mut pool, "a"), "10.9.0.2/29");
    }

    #[test]
    fn folder_goes_when_nothing_is_held() {
        let root = tempfile::tempdir().unwrap();
        let mut pool = pool(root.path(), 24);
        pool.remove().unwrap();
        one(&mut pool, "a");
        pool.remove().unwrap();
        assert!(root.path().join("default/10.9.0.2").exists());
        pool.release("a", "eth0").unwrap();
        pool.remove().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!(one(&mut pool, "a"), "10.9.0.2/24");
    }

    proptest! {
        #[test]
        fn no_address_is_ever_held_twice(steps in proptest::collection::vec((any::<bool>(), 0u8..12), 0..60)) {
            let root = tempfile::tempdir().unwrap();
            let mut pool = pool(root.path(), 28);
            let mut expected: BTreeMap<String, String> = BTreeMap::new();
            for (take, who) in steps {
                let id = format!("pod{who}");
                if take {
                    let got = one(&mut pool, &id);
                    let before = expected.insert(id, got.clone());
                    prop_assert!(before.is_none_or(|before| before == got));
                } else {
                    pool.release(&id, "eth0").unwrap();
                    expected.remove(&id);
                }
                let distinct: BTreeSet<&String> = expected.values().collect();
                prop_assert_eq!(distinct.len(), expected.len());
                prop_assert_eq!(pool.held().unwrap().len(), expected.len());
            }
        }
    }
}
