//! Wires the parts together and serves until told to end.

use crate::claim::Claim;
use crate::clock::MachineClock;
use crate::config::{Config, LogFormat, Nat};
use crate::docker::DockerApi;
use crate::endpoint::Endpoint;
use crate::failpoints::Rules;
use orlop_images::Store as Images;
use orlop_model::Failure;
use orlop_model::ports::{Failpoints, Ports};
use orlop_network::{DefaultNetwork, Networks};
use orlop_runtime_client::Client as Runtime;
use orlop_store::Store as Records;
use orlop_usecases::Engine;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// How long requests under way may go on after the daemon was told to end. What is not done then is taken up at the next start.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// How long the parts may take to clear away what this daemon made. What is left then, the next start takes up.
const END_WITHIN: Duration = Duration::from_secs(20);
/// Who may use the socket: root and its group.
const SOCKET_MODE: u32 = 0o660;
/// Who may enter our folders: root.
const FOLDER_MODE: u32 = 0o700;
/// Mode bits that let others write into a folder.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Name of the pod network, as attachments and the folder of its addresses show it.
const NETWORK_NAME: &str = "orlop";
/// Name of Docker's network, as its users know it.
const DOCKER_NETWORK_NAME: &str = "bridge";
/// The kernel that brought mount_setattr(2), and with it recursive read-only mounts.
const RECURSIVE_READ_ONLY_SINCE: (u32, u32) = (5, 12);

/// Why the daemon ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon has something of ours.
    #[error(transparent)]
    Claim(#[from] crate::claim::Refused),
    /// A file, folder or socket can't be used.
    #[error("{tried} {}: {source}", path.display())]
    File {
        /// What was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// A part could not start.
    #[error("start the {part}: {source}")]
    Part {
        /// Which.
        part: &'static str,
        /// What was wrong.
        source: Failure,
    },
    /// A folder is open to others.
    #[error("use folder {}: its mode is {mode:03o}, so that others could change what is in it; chmod it to 700", path.display())]
    OpenFolder {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// An address and port can't be had.
    #[error("listen for metrics on {address}: {source}; give the daemon another address with --metrics-listen")]
    Address {
        /// Which.
        address: std::net::SocketAddr,
        /// What was wrong.
        source: io::Error,
    },
    /// An address and port for streams can't be had.
    #[error("listen for streams on {address}: {source}; give the daemon another address with --stream-listen")]
    StreamAddress {
        /// Which.
        address: std::net::SocketAddr,
        /// What was wrong.
        source: io::Error,
    },
    /// What lies where the socket is to be is not ours to take away.
    #[error("listen on {}: {why}; give the daemon another socket with --socket or --metrics-listen", path.display())]
    SocketTaken {
        /// Where.
        path: PathBuf,
        /// What lies there.
        why: &'static str,
    },
    /// Signals can't be heard.
    #[error("listen for SIGTERM and SIGINT: {0}")]
    Signals(io::Error),
    /// The server failed.
    #[error("serve the CRI: {0}")]
    Serve(#[from] orlop_cri::Error),
    /// The server ended by itself.
    #[error("serve the CRI: the server ended without being told to")]
    Ended,
}

/// Says where log lines go and how they look.
pub fn log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("ORLOPD_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: &Config, failpoints: Rules) -> Result<(), Error> {
    let began = Instant::now();
    // From the first moment, so that none is missed during the start.
    let signals = Signals::listen().map_err(Error::Signals)?;
    for dir in [&config.root, &config.run] {
        make_dir(dir)?;
    }
    let claim = Claim::take(config)?;
    // Before anything is done: an address that is taken ends the start.
    let endpoint = match &config.metrics_listen {
        Some(listen_on) => Some(Endpoint::open(listen_on).await?),
        None => None,
    };
    let taken = |source| Error::StreamAddress { address: config.stream_listen, source };
    let streams = TcpListener::bind(config.stream_listen).await.map_err(taken)?;
    let streams_at = streams.local_addr().map_err(taken)?;
    let parts = Parts::open(config, failpoints)?;
    let (engine, recovered) = Engine::start(parts.ports()).await.map_err(part("engine"))?;
    let listener = listen(&config.socket)?;
    let docker = DockerApi::open(config)?;
    let facade = engine.facade(orlop_cri::namespace(), orlop_cri::policy());
    let settings = orlop_cri::Config {
        recursive_read_only: recursive_read_only(),
        user_namespaces: user_namespaces(Arc::clone(&parts.images)).await,
    };
    info!(
        socket = %config.socket.display(), streams = %streams_at, root = %config.root.display(), sandboxes = recovered.sandboxes,
        containers = recovered.containers, silent = recovered.silent, actions = recovered.actions.len(),
        set_aside = recovered.set_aside.len(), ms = began.elapsed().as_millis(),
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
    let (told, end) = tokio::sync::watch::channel(false);
    let requests = orlop_cri::RequestMetrics::new();
    let counted_by_docker = docker.as_ref().map(|docker| docker.metrics().collectors()).unwrap_or_default();
    let counted = [engine.metrics(), parts.images.metrics(), requests.collectors(), counted_by_docker];
    let shown = endpoint.map(|endpoint| endpoint.show(counted));
    let docker_ends = wait_for(end.clone());
    let docker = async {
        match docker {
            Some(docker) => docker.serve(&engine, docker_ends).await,
            None => docker_ends.await,
        }
    };
    let mut docker = std::pin::pin!(docker);
    let mut server = std::pin::pin!(orlop_cri::serve(listener, streams, facade, settings, requests, wait_for(end)));
    tokio::select! {
        ended = &mut server => return Err(ended.map_or_else(Error::Serve, |()| Error::Ended)),
        () = &mut docker => return Err(Error::Ended),
        never = crate::memory::give_back_when_pods_go(&engine) => match never {},
        () = signals.told_to_end() => info!("told to end"),
    }
    told.send_replace(true);
    let both = async { tokio::join!(server, docker) };
    if tokio::time::timeout(DRAIN_WITHIN, both).await.is_err() {
        warn!(after_ms = DRAIN_WITHIN.as_millis(), "requests are still under way; the next start takes them up");
    }
    drop(fs::remove_file(&config.socket));
    drop(shown);
    if engine.idle() {
        if tokio::time::timeout(END_WITHIN, parts.end()).await.is_err() {
            warn!(after_ms = END_WITHIN.as_millis(), "not everything is cleared away; the next start takes it up");
        }
    } else {
        info!("sandboxes are left running for the next start");
    }
    drop(claim);
    Ok(())
}

/// The adapters, one for each port.
struct Parts {
    runtime: Arc<Runtime>,
    images: Arc<Images>,
    network: Arc<Networks>,
    records: Arc<Records>,
    failpoints: Arc<dyn Failpoints>,
}

impl Parts {
    fn open(config: &Config, rules: Rules) -> Result<Self, Error> {
        if !rules.is_empty() {
            warn!(?rules, "failpoints are set: this daemon is under test");
        }
        let failpoints: Arc<dyn Failpoints> = Arc::new(rules);
        let boot_id_path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(boot_id_path).map_err(file("read", boot_id_path))?;
        let records = orlop_store::Config {
            boot_dir: config.run.join("records"),
            node_dir: config.root.join("records"),
            boot_id: boot_id.trim().to_owned(),
        };
        let pods = orlop_network::Config {
            name: NETWORK_NAME.to_owned(),
            bridge: config.bridge.clone(),
            subnet: (config.subnet.network, config.subnet.prefix),
            nat: match config.nat {
                Nat::On => orlop_network::Nat::On,
                Nat::Off => orlop_network::Nat::Off,
            },
            nft_table: config.nft_table.clone(),
            ipam_dir: config.ipam_dir.clone(),
            mtu: None,
        };
        let docker = orlop_network::Config {
            name: DOCKER_NETWORK_NAME.to_owned(),
            bridge: config.docker_bridge.clone(),
            subnet: (config.docker_subnet.network, config.docker_subnet.prefix),
            nft_table: config.docker_nft_table.clone(),
            ..pods.clone()
        };
        let network =
            |config| DefaultNetwork::with_failpoints(config, Arc::clone(&failpoints)).map_err(part("network"));
        let images = orlop_images::Config {
            certs_dir: Some(config.certs_dir.clone()),
            ..orlop_images::Config::new(config.root.join("images"))
        };
        let runtime = orlop_runtime_client::Config::new(&config.run, &config.shim, &config.cgroup_root);
        Ok(Self {
            runtime: Arc::new(Runtime::new(runtime).map_err(part("runtime"))?),
            images: Arc::new(Images::with_failpoints(images, Arc::clone(&failpoints)).map_err(part("image service"))?),
            network: Arc::new(Networks::new(network(pods)?, vec![network(docker)?])),
            records: Arc::new(Records::open(&records).map_err(part("records"))?),
            failpoints,
        })
    }

    fn ports(&self) -> Ports {
        Ports {
            runtime: self.runtime.clone(),
            images: self.images.clone(),
            network: self.network.clone(),
            records: self.records.clone(),
            clock: Arc::new(MachineClock),
            failpoints: Arc::clone(&self.failpoints),
        }
    }

    /// Takes away what this daemon made on the host. Goes on after a failure, and reports all.
    async fn end(&self) {
        if let Err(failure) = self.runtime.end().await {
            warn!(error = %failure, "the runtime left something behind");
        }
        if let Err(failure) = self.network.end().await {
            warn!(error = %failure, "the network left something behind");
        }
        if let Err(failure) = self.records.end().await {
            warn!(error = %failure, "the records left something behind");
        }
    }
}

/// Says whether pods can have users of their own, by making a root file system for some.
async fn user_namespaces(images: Arc<Images>) -> orlop_cri::UserNamespaces {
    let tried = tokio::task::spawn_blocking(move || images.try_mapping()).await;
    let why = match tried {
        Ok(Ok(())) => return orlop_cri::UserNamespaces::Possible,
        Ok(Err(error)) => Failure::from(error).to_string(),
        Err(error) => error.to_string(),
    };
    info!(why, "pods can't have user namespaces here: needs Linux 5.19, and a file system for images that maps owners");
    orlop_cri::UserNamespaces::Impossible
}

/// Says whether this kernel can make a mount read-only with all mounts below it.
fn recursive_read_only() -> orlop_cri::RecursiveReadOnly {
    let release = rustix::system::uname();
    let mut parts = release.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    if (number(), number()) >= RECURSIVE_READ_ONLY_SINCE {
        orlop_cri::RecursiveReadOnly::Possible
    } else {
        orlop_cri::RecursiveReadOnly::Impossible
    }
}

/// What tells the daemon to end.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn told_to_end(mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

async fn wait_for(mut end: tokio::sync::watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(end.wait_for(|told| *told).await);
}

/// Binds the socket, in place of one that a dead daemon left.
pub fn listen(path: &Path) -> Result<UnixListener, Error> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(dir).map_err(file("make folder", dir))?;
    }
    clear_socket(path)?;
    let listener = UnixListener::bind(path).map_err(file("listen on", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(file("set the mode of", path))?;
    Ok(listener)
}

/// Removes a socket that nobody listens on; refuses to remove anything else. No other orlopd has it: the claim is held.
fn clear_socket(path: &Path) -> Result<(), Error> {
    let taken = |why| Err(Error::SocketTaken { path: path.to_owned(), why });
    match fs::symlink_metadata(path) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(wrong) => return Err(file("look at", path)(wrong)),
        Ok(there) if !there.file_type().is_socket() => return taken("there is something that is not a socket"),
        Ok(_) => {}
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return taken("another program listens there");
    }
    fs::remove_file(path).map_err(file("remove", path))
}

/// Makes a folder for us alone; refuses one that others may write into.
fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(dir).map_err(file("make folder", dir))?;
    let mode = fs::metadata(dir).map_err(file("look at", dir))?.permissions().mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(Error::OpenFolder { path: dir.to_owned(), mode });
    }
    Ok(())
}

fn file(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { tried, path, source }
}

fn part<E: Into<Failure>>(part: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Part { part, source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/orlopd.sock");
        drop(listen(&path).unwrap());
        let listener = listen(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir.path().join("run"))), (SOCKET_MODE, FOLDER_MODE));
        let refused = listen(&path).unwrap_err().to_string();
        assert!(refused.contains("another program listens there") && refused.contains("--socket"), "{refused}");
        drop(listener);
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        let refused = listen(&file).unwrap_err().to_string();
        assert!(refused.contains("not a socket"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
