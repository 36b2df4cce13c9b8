//! An orlopd under test: started, killed, started again, ended.

use crate::client::{Client, v1};
use crate::ground::Ground;
use crate::guard::Guard;
use crate::wait::{wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest from the start of the process to its first answer. The promise is a second; tests that measure say so.
pub const READY_LIMIT: Duration = Duration::from_secs(20);
/// The longest from SIGTERM to the end, on a machine that is busy with other things.
pub const END_LIMIT: Duration = Duration::from_secs(20);
/// Folder of the binaries under test; without it they are looked for beside the test's own.
const BINARIES: &str = "ORLOP_BIN_DIR";
/// The variable by which failpoints are set.
const FAILPOINTS: &str = "ORLOPD_FAILPOINTS";
/// How many of the daemon's last lines a failing test prints.
const LOG_LINES: usize = 60;

/// An orlopd on a ground of its own.
///
/// When dropped, everything it still holds is removed over the CRI and it is ended, so that the guard finds nothing of a
/// test that passed or failed in an orderly way, and everything of a daemon that can't clean up behind itself.
#[derive(Debug)]
pub struct Node {
    ground: Arc<Ground>,
    settings: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    daemon: Option<Child>,
}

impl Node {
    /// Starts a daemon on a new ground and waits until it answers.
    #[must_use]
    pub fn start(guard: &Guard) -> Self {
        Self::start_on(guard.ground(), &[])
    }

    /// Starts a daemon on a ground with settings of the test's own, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer in time; its log is printed.
    #[must_use]
    pub fn start_on(ground: Arc<Ground>, settings: &[(&str, &str)]) -> Self {
        let mut node = Self::prepare(ground, settings);
        node.start_again();
        node
    }

    /// The same without starting it: for tests that start it with an environment, or that expect a refusal.
    #[must_use]
    pub fn prepare(ground: Arc<Ground>, settings: &[(&str, &str)]) -> Self {
        let mut all = usual_settings(&ground);
        all.extend(settings.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())));
        Self { ground, settings: all, environment: Vec::new(), daemon: None }
    }

    /// Returns the value that a flag is started with.
    #[must_use]
    pub fn setting(&self, flag: &str) -> Option<&str> {
        self.settings.get(flag).map(String::as_str)
    }

    /// Sets a variable of the daemon's environment from the next start on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Lets failpoints strike from the next start on (`orlopd --help` says how they are written); none with `None`.
    pub fn set_failpoints(&mut self, rules: Option<&str>) {
        self.environment.retain(|(name, _)| name != FAILPOINTS);
        self.environment.extend(rules.map(|rules| (FAILPOINTS.to_owned(), rules.to_owned())));
    }

    /// Returns how the daemon ended, if it has: by a failpoint, or by a fault.
    ///
    /// # Panics
    /// When it was not running.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let daemon = self.daemon.as_mut().expect("the daemon was started");
        let status = daemon.try_wait().expect("it is our child");
        if status.is_some() {
            self.daemon = None;
        }
        status
    }

    /// Returns its ground.
    #[must_use]
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// Returns the path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.ground)
    }

    /// Returns a client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    /// Returns the process id of the daemon.
    ///
    /// # Panics
    /// When it isn't running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon was started").id()
    }

    /// Starts the daemon, again or for the first time; returns how long it took until it answered.
    ///
    /// # Panics
    /// When it does not answer in time, or ends before.
    pub fn start_again(&mut self) -> Duration {
        self.try_start().unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same for programs that must go on when it fails.
    ///
    /// # Errors
    /// In words, with the daemon's last lines, when it does not answer in time, or ends before.
    pub fn try_start(&mut self) -> Result<Duration, String> {
        let begun = Instant::now();
        if self.daemon.is_none() {
            self.daemon = Some(self.spawn());
        }
        let client = self.client();
        let ready = wait_for(READY_LIMIT, || {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Some(Err(status));
            }
            client.version(v1::VersionRequest::default()).ok().map(Ok)
        });
        match ready {
            Some(Ok(_)) => Ok(begun.elapsed()),
            Some(Err(status)) => {
                self.daemon = None;
                Err(format!("orlopd ended with {status} before it answered:\n{}", self.log_tail()))
            }
            None => Err(format!("orlopd did not answer within {READY_LIMIT:?}:\n{}", self.log_tail())),
        }
    }

    /// Starts the daemon where it is expected to refuse, and returns how it ended and what it said.
    ///
    /// # Panics
    /// When it doesn't end in time.
    pub fn start_refused(&mut self) -> (ExitStatus, String) {
        let said = fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len());
        let mut daemon = self.spawn();
        let status = wait_for(READY_LIMIT, || daemon.try_wait().expect("it is our child"));
        let Some(status) = status else {
            let _ = daemon.kill();
            let _ = daemon.wait();
            panic!("orlopd was expected to refuse to start, but runs:\n{}", self.log_tail());
        };
        let log = fs::read(self.log_path()).unwrap_or_default();
        let new = log.get(usize::try_from(said).unwrap_or_default()..).unwrap_or_default();
        (status, String::from_utf8_lossy(new).into_owned())
    }

    /// Kills the daemon with SIGKILL: nothing of it gets to run any more.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon was started");
        daemon.kill().expect("it is our child");
        daemon.wait().expect("it is our child");
    }

    /// Ends the daemon with SIGTERM and waits for it.
    ///
    /// # Panics
    /// When it takes too long, or ends with a failure.
    pub fn end(&mut self) {
        let status = self.ask_to_end().expect("the daemon was started");
        assert!(status.success(), "orlopd ended with {status}:\n{}", self.log_tail());
    }

    /// The same for programs that must go on when it fails.
    ///
    /// # Errors
    /// In words, when it was not running, took too long, or ended with a failure.
    pub fn try_end(&mut self) -> Result<(), String> {
        match self.ask_to_end() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("orlopd ended with {status}:\n{}", self.log_tail())),
            None => Err("orlopd was not running".to_owned()),
        }
    }

    /// Returns a command that starts in the daemon's network namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.ground.command(program)
    }

    /// Returns all that the daemons of this node wrote.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Returns the last lines that the daemon wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Stops and removes every pod, as a kubelet would that drains a node. Goes on after an error and returns the last.
    ///
    /// # Errors
    /// When the daemon does not answer, or refuses.
    pub fn drain(&self) -> Result<(), tonic::Status> {
        let client = self.client();
        let mut result = Ok(());
        for pod in client.list_pod_sandbox(v1::ListPodSandboxRequest::default())?.items {
            let stop = v1::StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() };
            let remove = v1::RemovePodSandboxRequest { pod_sandbox_id: pod.id };
            let gone = client.stop_pod_sandbox(stop).map(|_| ()).and(client.remove_pod_sandbox(remove).map(|_| ()));
            result = gone.and(result);
        }
        result
    }

    fn spawn(&self) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("the ground is writable");
        let log_too: File = log.try_clone().expect("a test has descriptors to spare");
        let mut command = self.command(binary("orlopd"));
        command
            .args(self.settings.iter().flat_map(|(flag, value)| [flag, value]))
            .envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log).stderr(log_too);
        command.spawn().unwrap_or_else(|e| panic!("start orlopd: {e}"))
    }

    fn ask_to_end(&mut self) -> Option<ExitStatus> {
        let mut daemon = self.daemon.take()?;
        if let Some(pid) = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let status = wait_for(END_LIMIT, || daemon.try_wait().expect("it is our child"));
        Some(status.unwrap_or_else(|| {
            eprintln!("orlopd did not end within {END_LIMIT:?} of SIGTERM; its last lines:\n{}", self.log_tail());
            let _ = daemon.kill();
            daemon.wait().expect("it is our child")
        }))
    }

    fn log_path(&self) -> PathBuf {
        self.ground.join("orlopd.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last lines of orlopd's log:\n{}", self.log_tail());
        }
        if self.daemon.is_some() {
            if self.setting("--docker-socket").is_some() {
                self.docker().remove_all();
            }
            if let Err(status) = self.drain() {
                eprintln!("removing what the test left on the node failed: {status}");
            }
            self.ask_to_end();
        }
    }
}

/// The flags that keep a daemon on its ground.
fn usual_settings(ground: &Ground) -> BTreeMap<String, String> {
    let path = |name: &str| ground.join(name).display().to_string();
    let pairs = [
        ("--root", path("root")),
        ("--run", path("run")),
        ("--ipam-dir", path("ipam")),
        ("--certs-dir", path("certs.d")),
        ("--cgroup-root", ground.cgroup()),
    ];
    pairs.into_iter().map(|(flag, value)| (flag.to_owned(), value)).collect()
}

fn socket(ground: &Ground) -> PathBuf {
    ground.join("run/orlopd.sock")
}

/// Returns the path of a binary of this workspace, built already: `make test` builds it, or `cargo build -p`.
///
/// # Panics
/// When it isn't there.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os(BINARIES).map_or_else(beside_this_program, PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is not there; build it with: cargo build -p {name}", path.display());
    path
}

/// Tests lie in `deps/`, programs one level above.
fn beside_this_program() -> PathBuf {
    let program = std::env::current_exe().expect("/proc is mounted");
    let folder = program.parent().unwrap_or(Path::new("/"));
    if folder.ends_with("deps") { folder.parent().unwrap_or(folder).to_owned() } else { folder.to_owned() }
}

/// Waits until a socket accepts connections: for servers of others that tests start.
pub fn wait_for_socket(limit: Duration, path: &Path) {
    wait_until(limit, "the socket accepts", || std::os::unix::net::UnixStream::connect(path).ok());
}
