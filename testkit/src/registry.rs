//! Debian's docker-registry on a free port of the loopback: empty, writable, with or without a password and TLS.

use crate::wait::wait_for;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest until it listens.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// A port that was free can be taken by another program before the registry has it.
const PORT_TRIES_MAX: usize = 5;

/// The name that a registry with a password knows.
pub const USERNAME: &str = "orlop";
/// Its password.
pub const PASSWORD: &str = "secret";
/// Both as an `Authorization` header has them.
pub(crate) const BASIC: &str = "Basic b3Jsb3A6c2VjcmV0";
/// Both as an htpasswd line: bcrypt, the only form that the registry reads.
const HTPASSWD: &str = "orlop:$2b$04$Auk1/TsOJbQxIhK4dGLatuFaygEBf2KsbGu4TmnBABORw2JZft6La\n";

/// How a registry is run.
#[derive(Debug, Default)]
pub struct Options {
    /// Asks for [`USERNAME`] and [`PASSWORD`].
    pub password: bool,
    /// Speaks TLS with a certificate of its own, see [`Registry::certificate`].
    pub tls: bool,
    /// Serves what another registry holds.
    pub storage: Option<PathBuf>,
    /// Runs in this network namespace, which has its loopback up.
    pub netns: Option<OwnedFd>,
    /// Asks for tokens of a token server. Nothing can be pushed then: give it the storage of an open registry.
    pub token: Option<TokenAuth>,
}

/// Whose tokens a registry takes.
#[derive(Clone, Debug)]
pub struct TokenAuth {
    /// URL of the token server, as the registry names it to those who ask.
    pub realm: String,
    /// What the registry calls itself; the audience of its tokens.
    pub service: String,
    /// Who signs them.
    pub issuer: String,
    /// The certificate that the signing key has to have.
    pub certificate: PathBuf,
}

/// A registry that runs; ended, and its files removed, when dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    folder: tempfile::TempDir,
    storage: PathBuf,
    address: SocketAddr,
    options: Options,
}

// === impl Registry ===

impl Registry {
    /// Starts an open, empty registry in the network namespace of this program.
    ///
    /// # Errors
    /// When it can't be started, or does not listen in time.
    pub fn start() -> io::Result<Self> {
        Self::with(Options::default())
    }

    /// Starts a registry and waits until it listens.
    ///
    /// # Errors
    /// When it can't be started, or does not listen in time.
    pub fn with(mut options: Options) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("orlop-registry-").tempdir()?;
        let storage = options.storage.take().unwrap_or_else(|| folder.path().join("storage"));
        let mut last = String::new();
        for _ in 0..PORT_TRIES_MAX {
            let address = inside(&options, || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr())??;
            configure(folder.path(), &storage, address, &options)?;
            let mut process = spawn(folder.path(), &options)?;
            // By its own word: another program may have got the port meanwhile, and would take a connection too.
            let listens = format!("listening on {address}");
            let says = || fs::read_to_string(folder.path().join("log")).is_ok_and(|log| log.contains(&listens));
            let ready = wait_for(READY_LIMIT, || match process.try_wait() {
                Ok(None) => says().then_some(true),
                Ok(Some(_)) | Err(_) => Some(false),
            });
            if ready == Some(true) {
                return Ok(Self { process, folder, storage, address, options });
            }
            // Ended already or not: both calls are quiet then.
            let _ = process.kill();
            let _ = process.wait();
            last = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        }
        Err(io::Error::other(format!("docker-registry does not listen: {last}")))
    }

    /// Returns what the reference of an image begins with: `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where it keeps its blobs.
    #[must_use]
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// Returns the file of a blob, for tests that spoil one. `digest` is `sha256:<hex>`.
    #[must_use]
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.storage.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Returns the certificate of a registry with TLS, which is its own authority.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Returns the lines that it has logged so far: one for each request, among others.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.path().join("log"))
    }

    pub(crate) fn has_password(&self) -> bool {
        self.options.password
    }

    /// Connects to it, from inside its network namespace.
    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        inside(&self.options, || TcpStream::connect_timeout(&self.address, READY_LIMIT))?
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // By the process we hold, which is not reaped before: never another with its id.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn inside<T: Send>(options: &Options, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    match &options.netns {
        Some(netns) => orlop_sys::netns::inside(netns.as_fd(), work),
        None => Ok(work()),
    }
}

fn configure(folder: &Path, storage: &Path, address: SocketAddr, options: &Options) -> io::Result<()> {
    let mut config = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\nstorage:\n  \
         filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n  \
         maintenance: {{uploadpurging: {{enabled: false}}}}\n",
        storage.display()
    );
    if options.password {
        let file = folder.join("htpasswd");
        fs::write(&file, HTPASSWD)?;
        config.push_str(&format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", file.display()));
    }
    if let Some(TokenAuth { realm, service, issuer, certificate }) = &options.token {
        config.push_str(&format!(
            "auth:\n  token: {{realm: '{realm}', service: '{service}', issuer: '{issuer}', rootcertbundle: {}}}\n",
            certificate.display()
        ));
    }
    config.push_str(&format!("http:\n  addr: '{address}'\n"));
    if options.tls {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        make_certificate(&certificate, &key)?;
        config.push_str(&format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display()));
    }
    fs::write(folder.join("config.yml"), config)
}

/// Makes a certificate for the loopback address that trusts nobody but itself, and its key (P-256, PKCS #8), both PEM.
/// Quiet when it is there.
///
/// # Errors
/// When openssl can't be run or refuses.
pub fn make_certificate(certificate: &Path, key: &Path) -> io::Result<()> {
    if certificate.exists() {
        return Ok(());
    }
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=orlop test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(key).arg("-out").arg(certificate);
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("openssl req: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

fn spawn(folder: &Path, options: &Options) -> io::Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(folder.join("config.yml"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // It would take settings from there.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REGISTRY_")) {
        command.env_remove(name);
    }
    if let Some(netns) = &options.netns {
        orlop_sys::process::in_netns(&mut command, netns.try_clone()?);
    }
    let spawned = command.spawn();
    spawned
        .map_err(|error| io::Error::other(format!("start docker-registry: {error}; install Debian's docker-registry")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_builder::ImageBuilder;
    use crate::tree::Tree;

    #[test]
    fn registry_in_another_namespace_takes_an_image_and_is_not_seen_here() {
        let netns = orlop_sys::netns::create().unwrap();
        let mut up = Command::new("ip");
        orlop_sys::process::in_netns(&mut up, netns.try_clone().unwrap());
        assert!(up.args(["link", "set", "lo", "up"]).status().unwrap().success());
        let registry = Registry::with(Options { netns: Some(netns), password: true, ..Options::default() }).unwrap();
        let mut tree = Tree::default();
        tree.file("a", 0o644, "1");
        let built = ImageBuilder::new().layer(&tree).build();
        built.push(&registry, "x", &["1"]).unwrap();
        assert_eq!(fs::read(registry.blob_file(&built.id())).unwrap(), built.config);
        assert!(TcpStream::connect_timeout(&registry.address(), Duration::from_secs(1)).is_err());
        let (pid, folder) = (registry.process.id(), registry.folder.path().to_owned());
        drop(registry);
        assert!(!Path::new(&format!("/proc/{pid}")).exists() && !folder.exists());
    }
}
