//! The one process that starts shims: found by its socket, started when there is none, ended when nothing is left.
//!
//! It outlives the daemon. It sits in the `shims` cgroup of every hierarchy, which each shim inherits: entering a v1 cgroup
//! after an idle spell waits 5 to 7 ms for the kernel, being born there is free.

use crate::blocking::Threads;
use crate::cgroup::Cgroups;
use crate::config::{ASK_WITHIN, Config, GONE_WITHIN, SPAWN_WITHIN, SPAWNER_END_WITHIN, SPAWNER_PAUSE, SPAWNER_WITHIN};
use crate::error::{Error, Result};
use crate::folders::{Folders, SandboxFolder};
use crate::peer::{Answered, Hearing, Peer, kill};
use crate::socket::watch;
use orlop_model::SandboxId;
use orlop_wire::frame::{Event, Reply, Request};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

/// The spawner, living or yet to be started.
#[derive(Debug)]
pub(crate) struct Spawner {
    config: Arc<Config>,
    folders: Folders,
    threads: Arc<Threads>,
    cgroups: Arc<Cgroups>,
    peer: Mutex<Option<Peer>>,
    /// Whether it was told to end.
    ending: Arc<AtomicBool>,
}

/// Nothing is heard of a spawner by itself, but its death; one that was asked for is no news.
struct Deaf {
    ending: Arc<AtomicBool>,
}

impl Hearing for Deaf {
    fn event(&self, _: Event) {}
    fn gone(&self) {
        if !self.ending.load(Ordering::Relaxed) {
            warn!("the spawner is gone; the next sandbox starts another");
        }
    }
}

const NAME: &str = "the spawner";
const BUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();

// === impl Spawner ===

impl Spawner {
    pub(crate) fn new(config: Arc<Config>, folders: Folders, threads: Arc<Threads>, cgroups: Arc<Cgroups>) -> Self {
        Self { config, folders, threads, cgroups, peer: Mutex::new(None), ending: Arc::default() }
    }

    /// Starts a shim for a sandbox's folder. One that lives is left alone.
    pub(crate) async fn spawn(&self, id: &SandboxId, folder: &SandboxFolder) -> Result<()> {
        self.ask_spawn(id, folder).await.map(drop)
    }

    /// Kills a shim that does not even greet: the spawner knows its process, as its parent or by its socket.
    pub(crate) async fn kill_shim(&self, id: &SandboxId, folder: &SandboxFolder) -> Result<()> {
        let tried = "kill the shim";
        // One that died meanwhile is started again, and killed as well.
        let pidfd = self.ask_spawn(id, folder).await?.ok_or_else(|| Error::Unexpected { tried: tried.into() })?;
        kill(&pidfd).map_err(|error| Error::io(tried, error))?;
        let gone = watch(pidfd).map_err(|error| Error::io(tried, error))?;
        match tokio::time::timeout(GONE_WITHIN, gone.readable()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Late { tried: "wait for the end of the shim".into(), bound: GONE_WITHIN }),
        }
    }

    /// Asks for a shim, and returns its pidfd.
    async fn ask_spawn(&self, id: &SandboxId, folder: &SandboxFolder) -> Result<Option<OwnedFd>> {
        let dir = folder.path().to_str().ok_or_else(|| Error::Invalid("the run folder's path is not UTF-8".into()))?;
        let request = Request::Spawn { sandbox: id.to_string(), dir: dir.to_owned() };
        let answered = self.ask("start the shim", request, SPAWN_WITHIN).await?;
        let Reply::Spawned { .. } = answered.reply else {
            return Err(Error::Unexpected { tried: "start the shim".into() });
        };
        Ok(answered.slots.into_iter().next())
    }

    /// Says whether it answers; starts it when there is none.
    pub(crate) async fn ready(&self) -> Result<()> {
        let tried = "ask the spawner";
        let reply = self.ask(tried, Request::Shims, ASK_WITHIN).await?.reply;
        if let Reply::Shims(_) = reply { Ok(()) } else { Err(Error::Unexpected { tried: tried.into() }) }
    }

    /// Ends it, when it lives. Refused while a shim of its lives.
    pub(crate) async fn end(&self) -> Result<()> {
        let mut held = self.peer.lock().await;
        let Some(peer) = self.living(&mut held).await? else {
            return Ok(());
        };
        self.ending.store(true, Ordering::Relaxed);
        let asked = ask_end(&peer).await;
        // One that refuses lives on, and its death is news again.
        self.ending.store(asked.is_ok(), Ordering::Relaxed);
        asked?;
        *held = None;
        if peer.gone_within(SPAWNER_END_WITHIN).await {
            Ok(())
        } else {
            Err(Error::Late { tried: "wait for the spawner's end".into(), bound: SPAWNER_END_WITHIN })
        }
    }

    /// Asks what may be asked twice; asks the next spawner when this one turns out to be dead.
    async fn ask(&self, tried: &str, request: Request, bound: Duration) -> Result<Answered> {
        match self.reach().await?.ask(tried, request.clone(), Vec::new(), bound).await {
            Err(Error::Gone { .. }) => self.reach().await?.ask(tried, request, Vec::new(), bound).await,
            answered => answered,
        }
    }

    async fn reach(&self) -> Result<Peer> {
        let mut held = self.peer.lock().await;
        if let Some(peer) = self.living(&mut held).await? {
            return Ok(peer);
        }
        let peer = self.start().await?;
        *held = Some(peer.clone());
        Ok(peer)
    }

    async fn living(&self, held: &mut Option<Peer>) -> Result<Option<Peer>> {
        if let Some(peer) = held.as_ref().filter(|peer| peer.stands()) {
            return Ok(Some(peer.clone()));
        }
        *held = self.connect().await?;
        if let Some(peer) = held.as_ref() {
            // The daemon that started it may have died before it moved it.
            self.settle(peer.pid()?).await?;
        }
        Ok(held.clone())
    }

    async fn connect(&self) -> Result<Option<Peer>> {
        Peer::connect(&self.folders.spawner_socket(), NAME.into(), Deaf { ending: Arc::clone(&self.ending) }).await
    }

    async fn start(&self) -> Result<Peer> {
        let began = Instant::now();
        let (config, folders) = (Arc::clone(&self.config), self.folders.clone());
        let mut child = self.threads.own("start the spawner", move || launch(&config, &folders)).await?;
        let settled = self.settle(child.id()).await;
        let peer = match settled {
            Ok(()) => self.await_socket(&mut child).await,
            Err(error) => Err(error),
        };
        self.ending.store(false, Ordering::Relaxed);
        match &peer {
            Ok(_) => info!(pid = child.id(), took = ?began.elapsed(), "the spawner is started"),
            // Quiet when it is gone already.
            Err(_) => drop(child.kill()),
        }
        reap(child);
        peer
    }

    async fn await_socket(&self, child: &mut Child) -> Result<Peer> {
        let deadline = Instant::now() + SPAWNER_WITHIN;
        loop {
            if let Some(peer) = self.connect().await? {
                return Ok(peer);
            }
            if let Ok(Some(status)) = child.try_wait() {
                let program = self.config.shim_path.display();
                return Err(Error::Missing(format!("the spawner ({program} --spawner) ended at once: {status}")));
            }
            if Instant::now() >= deadline {
                return Err(Error::Late { tried: "wait for the spawner's socket".into(), bound: SPAWNER_WITHIN });
            }
            tokio::time::sleep(SPAWNER_PAUSE).await;
        }
    }

    /// Moves the spawner into the cgroup of shims.
    async fn settle(&self, pid: u32) -> Result<()> {
        let cgroups = Arc::clone(&self.cgroups);
        self.threads.own("move the spawner into its cgroup", move || cgroups.settle(pid)).await
    }
}

/// Asks a spawner to end. It refuses while it has a shim, also one that is dead and not reaped yet: asked again, then.
async fn ask_end(peer: &Peer) -> Result<()> {
    let deadline = Instant::now() + SPAWNER_END_WITHIN;
    loop {
        match peer.ask_done("end the spawner", Request::End, ASK_WITHIN).await {
            // It may be gone before its reply is read.
            Ok(()) | Err(Error::Gone { .. }) => return Ok(()),
            Err(Error::Refused { errno, .. }) if errno == BUSY && Instant::now() < deadline => {
                tokio::time::sleep(SPAWNER_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Starts the process: no environment, no descriptors, a process group of its own.
fn launch(config: &Config, folders: &Folders) -> Result<Child> {
    let tried = || format!("start the spawner ({} --spawner)", config.shim_path.display());
    let failed = |error| Error::io(tried(), error);
    folders.make()?;
    // Nobody listens there, or we would not be here.
    match std::fs::remove_file(folders.spawner_socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let log = match &config.shim_log {
        Some(path) => File::options().append(true).create(true).open(path).map_err(failed)?.into(),
        None => Stdio::null(),
    };
    let mut command = Command::new(&config.shim_path);
    command.arg("--spawner").arg("--run").arg(folders.run());
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // A signal to the daemon's group, such as a terminal's Ctrl-C, is not meant for pods.
    command.process_group(0);
    command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Error::Missing(format!("there is no shim binary at {}", config.shim_path.display()));
        }
        failed(error)
    })
}

/// Waits for the spawner on a thread of its own, so that it leaves no zombie while this daemon lives. Nothing owns the
/// thread: it ends with the spawner, which outlives us.
fn reap(mut child: Child) {
    let wait = move || drop(child.wait());
    if let Err(error) = std::thread::Builder::new().name("spawner-wait".into()).spawn(wait) {
        warn!(%error, "no thread to wait for the spawner; it will be a zombie until the daemon ends");
    }
}
