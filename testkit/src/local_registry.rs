//! Debian's docker-registry on the loopback of a ground, serving a shelf.

use crate::ground::Ground;
use crate::wait::wait_for;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Where it listens: the loopback of a namespace of its own is free.
pub const ADDRESS: &str = "127.0.0.1:5000";
/// The longest until it listens.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A registry that runs; ended when dropped.
#[derive(Debug)]
pub struct LocalRegistry {
    process: Child,
}

impl LocalRegistry {
    /// Starts a registry over a storage folder and waits until it listens.
    ///
    /// # Errors
    /// When it can't be started, or does not listen in time.
    pub fn start(ground: &Ground, storage: &Path) -> io::Result<Self> {
        let config = ground.join("registry.yml");
        // Read-only: the shelf in the cache is shared by tests.
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
                 maintenance: {{readonly: {{enabled: true}}, uploadpurging: {{enabled: false}}}}\n\
                 http: {{addr: '{ADDRESS}'}}\n",
                storage.display()
            ),
        )?;
        // It tells on its standard output who asked for what.
        let log = OpenOptions::new().create(true).append(true).open(ground.join("registry.log"))?;
        let mut command = ground.command("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command
            .spawn()
            .map_err(|e| io::Error::other(format!("start docker-registry: {e}; scripts/setup installs it")))?;
        // From here on dropping it ends the process.
        let registry = Self { process };
        let address: SocketAddr = ADDRESS.parse().map_err(io::Error::other)?;
        let listens = || ground.inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).ok();
        match wait_for(READY_LIMIT, listens) {
            Some(_) => Ok(registry),
            None => {
                let log = fs::read_to_string(ground.join("registry.log")).unwrap_or_default();
                Err(io::Error::other(format!("docker-registry does not listen: {log}")))
            }
        }
    }

    /// Returns what the reference of an image begins with.
    #[must_use]
    pub fn host(&self) -> &'static str {
        ADDRESS
    }

    /// Lets a daemon on the ground find here what other registries hold. What is not here is nowhere: no other registry can be
    /// reached from there.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn mirror(&self, ground: &Ground, hosts: &[&str]) -> io::Result<()> {
        for host in hosts {
            let folder = ground.join("certs.d").join(host);
            fs::create_dir_all(&folder)?;
            fs::write(
                folder.join("hosts.toml"),
                format!(
                    "server = \"http://{ADDRESS}\"\n\n[host.\"http://{ADDRESS}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
                ),
            )?;
        }
        Ok(())
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
