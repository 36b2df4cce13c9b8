//! The spawner: starts shims, so that they are no children of the daemon, and reaps them.
//!
//! It knows nothing of pods. When it dies its shims go on; another spawner starts new ones. It stays in the cgroup that it
//! was put into, and its shims inherit it.

use crate::error::{Failed, Result, Tried};
use crate::journal;
use crate::peers::{Caller, Message, Peers};
use crate::poll::{Poll, Ready, Token};
use crate::seal;
use crate::supervise::{become_supervisor, listen, reap_some};
use nix::sys::signalfd::SignalFd;
use orlop_sys::child::{Words, close_on_exec_from, execute_fd, place, reset_signals};
use orlop_sys::clone::{Birth, Child, spawn};
use orlop_sys::seqpacket;
use orlop_wire::frame::{Asked, Reply, Request, SHIM_SOCKET, SPAWNER_SOCKET};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a fresh spawner waits for the daemon that started it: it connects within milliseconds.
const FIRST_GRACE: Duration = Duration::from_secs(10);
/// Status of a child that could not become a shim.
const NOT_RUN: u8 = 127;

/// The process that starts shims.
#[derive(Debug)]
pub(crate) struct Spawner {
    socket_path: PathBuf,
    listener: OwnedFd,
    signals: SignalFd,
    poll: Poll,
    peers: Peers,
    binary: OwnedFd,
    shims: BTreeMap<String, Shim>,
    numbers: u32,
    grace: Duration,
    /// When to end, while nobody needs us.
    idle_until: Option<Instant>,
    ending: bool,
}

/// A shim that was started.
#[derive(Debug)]
struct Shim {
    number: u32,
    child: Child,
    /// `None` once it listens.
    starting: Option<Starting>,
    /// Who wants another one in its place: it no longer listens and is about to end.
    next: Vec<(Caller, PathBuf)>,
}

/// A shim on its way.
#[derive(Debug)]
struct Starting {
    /// The shim writes a byte when it listens.
    ready: OwnedFd,
    waiting: Vec<Caller>,
}

// === impl Spawner ===

impl Spawner {
    pub(crate) fn start(run: &Path, grace: Duration) -> Result<Self> {
        let signals = become_supervisor()?;
        make_private(run)?;
        let socket_path = run.join(SPAWNER_SOCKET);
        let listener = listen(&socket_path)?;
        let poll = Poll::new()?;
        poll.add(&listener, Token::Listener)?;
        poll.add(&signals, Token::Signals)?;
        let idle_until = Some(Instant::now() + grace.max(FIRST_GRACE));
        let (peers, binary) = (Peers::new(), seal::own_binary()?);
        let (shims, numbers, ending) = (BTreeMap::new(), 0, false);
        Ok(Self { socket_path, listener, signals, poll, peers, binary, shims, numbers, grace, idle_until, ending })
    }

    /// Serves until nobody needs it.
    pub(crate) fn run(mut self) -> Result<()> {
        loop {
            for ready in self.poll.wait(self.idle_until)? {
                self.handle(ready);
            }
            if self.ending || self.is_idle_for_long() {
                let _ = std::fs::remove_file(&self.socket_path);
                self.peers.flush_all(&self.poll, self.grace);
                return Ok(());
            }
        }
    }

    fn is_idle_for_long(&mut self) -> bool {
        if !self.peers.is_empty() || !self.shims.is_empty() {
            self.idle_until = None;
            return false;
        }
        let until = *self.idle_until.get_or_insert_with(|| Instant::now() + self.grace);
        Instant::now() >= until
    }

    fn handle(&mut self, ready: Ready) {
        match ready.token {
            Token::Listener => {
                self.peers.accept(&self.listener, &self.poll);
                // The first grace is for the first daemon only.
                self.idle_until = None;
            }
            Token::Signals => self.reap(),
            Token::Peer(number) if ready.writable => self.peers.flush(number, &self.poll),
            Token::Peer(number) => {
                for message in self.peers.read(number, &self.poll) {
                    self.answer(message);
                }
            }
            Token::Report(number) => self.hear_ready(number),
            // A spawner has no tasks.
            Token::Stdout(_) | Token::Stderr(_) => {}
        }
    }

    fn answer(&mut self, message: Message) {
        let caller = message.caller;
        match message.asked {
            Asked::Known(Request::Spawn { sandbox, dir }) => self.spawn(caller, sandbox, Path::new(&dir)),
            Asked::Known(Request::Shims) => {
                let ids = self.shims.keys().cloned().collect();
                self.reply(caller, &Reply::Shims(ids), Vec::new());
            }
            Asked::Known(Request::End) if !self.shims.is_empty() => {
                let reason = format!("{} shims live", self.shims.len());
                self.reply(caller, &Failed::refused("end the spawner", reason, libc::EBUSY).reply(), Vec::new());
            }
            Asked::Known(Request::End) => {
                self.reply(caller, &Reply::Done, Vec::new());
                self.ending = true;
            }
            Asked::Known(
                Request::SetUp(_)
                | Request::NetworkNamespace
                | Request::Start(_)
                | Request::Signal { .. }
                | Request::Kill { .. }
                | Request::Freeze { .. }
                | Request::Thaw { .. }
                | Request::DropTask { .. }
                | Request::Exec(_)
                | Request::KillExec { .. }
                | Request::List
                | Request::ReopenLog { .. }
                | Request::ShutDown
                | Request::Shm
                | Request::TcpSockets
                | Request::Attach(_)
                | Request::CloseStdin { .. }
                | Request::Resize { .. }
                | Request::FirstProcess { .. },
            )
            | Asked::Unknown => self.reply(caller, &Reply::Unsupported, Vec::new()),
        }
    }

    fn reply(&mut self, caller: Caller, reply: &Reply, slots: Vec<OwnedFd>) {
        self.peers.reply(caller, reply, slots, &self.poll);
    }

    fn reply_error(&mut self, caller: Caller, error: &Failed) {
        self.reply(caller, &error.reply(), Vec::new());
    }

    /// Starts a shim, or finds the one that is there.
    fn spawn(&mut self, caller: Caller, sandbox: String, dir: &Path) {
        if let Some(shim) = self.shims.get_mut(&sandbox) {
            match &mut shim.starting {
                Some(starting) => starting.waiting.push(caller),
                // One that was shut down a moment ago is answered for when it is reaped.
                None if !listens(dir) => shim.next.push((caller, dir.to_owned())),
                None => self.tell_spawned(&sandbox, vec![caller]),
            }
            return;
        }
        match living_stranger(dir) {
            Ok(Some((pid, pidfd))) => return self.reply(caller, &Reply::Spawned { pid }, vec![pidfd]),
            Ok(None) => {}
            Err(error) => return self.reply_error(caller, &error),
        }
        self.numbers += 1;
        match self.start_shim(self.numbers, dir, caller) {
            Ok(shim) => drop(self.shims.insert(sandbox, shim)),
            Err(error) => self.reply_error(caller, &error),
        }
    }

    fn start_shim(&self, number: u32, dir: &Path, caller: Caller) -> Result<Shim> {
        let tried = format!("start a shim for {}", dir.display());
        let unfit = || Failed::refused(&tried, "the path must be absolute and hold no null byte", libc::EINVAL);
        let word =
            dir.to_str().filter(|_| dir.is_absolute()).and_then(|dir| CString::new(dir).ok()).ok_or_else(unfit)?;
        let argv = Words::new(vec![c"orlop-shim".to_owned(), c"--dir".to_owned(), word, sealed()]);
        let env = Words::new(Vec::new());
        let (ready, theirs) = pipe_with(PipeFlags::CLOEXEC).tried(&tried)?;
        let child = spawn(&Birth::default(), || {
            // Its standard input is how it tells that it listens.
            let prepared = place(theirs.as_fd(), 0).and_then(|()| close_on_exec_from(3)).and_then(|()| reset_signals());
            if prepared.is_ok() {
                drop(execute_fd(self.binary.as_fd(), &argv, &env));
            }
            NOT_RUN
        });
        let child = child.tried(&tried)?;
        self.poll.add(&ready, Token::Report(number))?;
        Ok(Shim { number, child, starting: Some(Starting { ready, waiting: vec![caller] }), next: Vec::new() })
    }

    /// A shim listens, or ended before it could.
    fn hear_ready(&mut self, number: u32) {
        let Some((sandbox, shim)) = self.shims.iter_mut().find(|(_, shim)| shim.number == number) else { return };
        let Some(starting) = shim.starting.take() else { return };
        self.poll.remove(&starting.ready);
        let sandbox = sandbox.clone();
        match rustix::io::read(&starting.ready, &mut [0; 1]) {
            Ok(1..) => self.tell_spawned(&sandbox, starting.waiting),
            Ok(0) | Err(_) => {
                // Forgotten now and reaped in a moment: another may take its place at once.
                self.shims.remove(&sandbox);
                let error = Failed::refused(
                    format_args!("start the shim of sandbox {sandbox}"),
                    "it ended before it listened; its log says why",
                    libc::EIO,
                );
                for caller in starting.waiting {
                    self.reply_error(caller, &error);
                }
            }
        }
    }

    fn tell_spawned(&mut self, sandbox: &str, waiting: Vec<Caller>) {
        for caller in waiting {
            let Some(shim) = self.shims.get(sandbox) else { return };
            let pid = shim.child.pid;
            match shim.child.pidfd.try_clone().tried("copy a pidfd") {
                Ok(pidfd) => self.reply(caller, &Reply::Spawned { pid }, vec![pidfd]),
                Err(error) => self.reply_error(caller, &error),
            }
        }
    }

    /// Reaps shims, and what dead ones left to us.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        for reaped in reap_some() {
            let Some((sandbox, shim)) = self.shims.iter().find(|(_, shim)| shim.child.pid == reaped.pid) else {
                continue;
            };
            let (sandbox, number) = (sandbox.clone(), shim.number);
            // It may have said why it ended, or that it listens, in the same breath.
            self.hear_ready(number);
            let next = self.shims.remove(&sandbox).map(|shim| shim.next).unwrap_or_default();
            for (caller, dir) in next {
                self.spawn(caller, sandbox.clone(), &dir);
            }
            if reaped.status != orlop_wire::exit::ExitStatus::Code(0) {
                journal::write(&format!("the shim of sandbox {sandbox} ended: {:?}", reaped.status));
            }
        }
    }
}

fn sealed() -> CString {
    // The binary that we run is sealed, and so is the shim's.
    CString::new(seal::SEALED).expect("a constant without a null byte")
}

/// Says whether the shim of a folder takes connections.
fn listens(dir: &Path) -> bool {
    seqpacket::connect(&dir.join(SHIM_SOCKET), seqpacket::Waits::No).is_ok()
}

/// Finds a living shim that an earlier spawner started.
fn living_stranger(dir: &Path) -> Result<Option<(u32, OwnedFd)>> {
    let tried = format!("look for a shim in {}", dir.display());
    let socket = match seqpacket::connect(&dir.join(SHIM_SOCKET), seqpacket::Waits::No) {
        Ok(socket) => socket,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR) => Ok(None),
                _ => Err(Failed::io(tried, &error)),
            };
        }
    };
    let pid = seqpacket::peer(&socket).tried(&tried)?.pid;
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| Failed::refused(&tried, "its process is in another namespace", libc::ESRCH))?;
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some((pid, pidfd))),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno).tried(tried),
    }
}

/// Makes the run folder, if need be, and keeps others out.
fn make_private(run: &Path) -> Result<()> {
    let tried = format!("make {}", run.display());
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(run).tried(&tried)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(run, mode).tried(tried)
}
