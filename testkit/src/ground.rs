//! The ground a daemon under test stands on: folders, a network namespace and a control group name of its own.

use crate::guard::{Kind, Snapshot, add_network, add_reservations, add_tree, hierarchies, is_folder};
use crate::scratch::Scratch;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The longest that a connection or an answer inside the namespace may take.
const NETWORK_LIMIT: Duration = Duration::from_secs(5);
/// Largest body that [`Ground::http_get`] reads: test pages are small.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// A place of its own for one daemon. Made by [`crate::guard::Guard::ground`], which compares it in the end and removes it.
#[derive(Debug)]
pub struct Ground {
    scratch: Scratch,
    netns: OwnedFd,
    netns_inode: u64,
    /// Whether the namespace is another ground's, which compares it.
    beside: bool,
}

impl Ground {
    /// Makes folders and a namespace with its loopback up.
    pub(crate) fn new() -> io::Result<Self> {
        let ground = Self::with_netns(orlop_sys::netns::create()?, false)?;
        // Every Kubernetes node forwards, so that a daemon finds this as it wants it and has nothing to change.
        ground.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        let status = ground.command("ip").args(["link", "set", "lo", "up"]).status()?;
        if status.success() {
            Ok(ground)
        } else {
            Err(io::Error::other("ip link set lo up failed in the new namespace"))
        }
    }

    /// Makes folders of its own in the namespace of another ground.
    pub(crate) fn beside(other: &Self) -> io::Result<Self> {
        Self::with_netns(other.netns.try_clone()?, true)
    }

    /// Makes folders of its own in the network namespace of this program.
    pub(crate) fn on_host_network() -> io::Result<Self> {
        Self::with_netns(orlop_sys::netns::current()?, true)
    }

    fn with_netns(netns: OwnedFd, beside: bool) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        for folder in ["root", "run", "tmp", "ipam", "logs", "certs.d"] {
            scratch.folder(folder)?;
        }
        let netns_inode = fs::File::from(netns.try_clone()?).metadata()?.ino();
        Ok(Self { scratch, netns, netns_inode, beside })
    }

    /// Returns the name, unique on the machine: also that of the folder and of the control group.
    #[must_use]
    pub fn name(&self) -> &str {
        self.scratch.name()
    }

    /// Returns the folder that holds all others.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns one of the folders: `root`, `run`, `tmp`, `ipam`, `logs`, `certs.d`, or one below.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns the network namespace.
    #[must_use]
    pub fn netns(&self) -> &OwnedFd {
        &self.netns
    }

    /// Returns the inode of the network namespace, by which `/proc` shows it.
    #[must_use]
    pub fn netns_inode(&self) -> u64 {
        self.netns_inode
    }

    /// Returns the control group of the daemon, from the root of each hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.name())
    }

    /// Returns a command that starts inside the network namespace, with temporary files below the ground.
    ///
    /// # Panics
    /// When the process has no descriptor left.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("TMPDIR", self.join("tmp"));
        let netns = self.netns.try_clone().expect("a test has descriptors to spare");
        orlop_sys::process::in_netns(&mut command, netns);
        command
    }

    /// Runs `work` on a thread inside the network namespace.
    ///
    /// # Panics
    /// When the namespace can't be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        orlop_sys::netns::inside(self.netns.as_fd(), work).expect("root may enter a namespace it made")
    }

    /// Asks for a page from inside the namespace and returns its status line and body.
    ///
    /// # Errors
    /// When nobody listens, or the answer takes longer than a few seconds.
    pub fn http_get(&self, address: IpAddr, port: u16, path: &str) -> io::Result<(String, String)> {
        self.http_get_with(address, port, path, "")
    }

    /// The same with header lines of the caller's own, each ended by `\r\n`.
    ///
    /// # Errors
    /// When nobody listens, or the answer takes longer than a few seconds.
    pub fn http_get_with(&self, address: IpAddr, port: u16, path: &str, headers: &str) -> io::Result<(String, String)> {
        use io::{Read, Write};
        self.inside(|| {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), NETWORK_LIMIT)?;
            stream.set_read_timeout(Some(NETWORK_LIMIT))?;
            // In one piece: a server that answers after the first would close the door on the second.
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n").as_bytes())?;
            let mut answer = Vec::new();
            stream.take(BODY_BYTES_MAX).read_to_end(&mut answer)?;
            let answer = String::from_utf8_lossy(&answer);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
        })
    }

    /// Lists what is on this ground: its network, run and temporary files, and addresses in use.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        if !self.beside {
            self.inside(|| add_network(&mut snapshot, self.name()));
        }
        add_tree(&mut snapshot, Kind::RunFile, self.name(), &self.join("run"));
        add_tree(&mut snapshot, Kind::TempFile, self.name(), &self.join("tmp"));
        add_reservations(&mut snapshot, self.name(), &self.join("ipam"));
        snapshot
    }

    /// Returns all control groups of this ground, the deepest first.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for root in hierarchies() {
            collect_folders(&root.join(self.name()), &mut found);
        }
        found
    }
}

/// Adds a folder and those below it, children before parents.
pub(crate) fn collect_folders(folder: &Path, found: &mut Vec<PathBuf>) {
    if !is_folder(folder) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        collect_folders(&entry.path(), found);
    }
    found.push(folder.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_see_only_the_loopback() {
        let ground = Ground::new().unwrap();
        let output = ground.command("ip").args(["-o", "link"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("lo") && text.contains("UP"), "{text}");
    }

    #[test]
    fn page_is_fetched_from_inside() {
        use std::io::{Read, Write};
        let ground = Ground::new().unwrap();
        let listener = ground.inside(|| std::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").unwrap();
        });
        let (status, body) = ground.http_get(address.ip(), address.port(), "/").unwrap();
        server.join().unwrap();
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.0 200 OK", "hello"));
    }
}
