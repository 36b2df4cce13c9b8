//! Shims: who is connected, what each reports, and what is waited for.

use crate::config::{ASK_WITHIN, EXEC_START_WITHIN};
use crate::error::{Error, Result};
use crate::folders::{Folders, ended};
use crate::peer::{Answered, Hearing, Peer};
use orlop_model::container_state::Ended;
use orlop_model::ports::RuntimeListener;
use orlop_model::{ContainerId, SandboxId};
use orlop_wire::exit::ExitStatus;
use orlop_wire::frame::{Event, Request};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{debug, warn};

/// Every sandbox that was asked about.
pub(crate) struct Shims {
    folders: Folders,
    listener: Arc<OnceLock<Arc<dyn RuntimeListener>>>,
    cells: Mutex<HashMap<SandboxId, Arc<Cell>>>,
}

/// What is known of one sandbox. Its lock is held while its folder or its connection changes.
pub(crate) type Cell = tokio::sync::Mutex<Option<Shim>>;

/// A connected shim.
#[derive(Clone)]
pub(crate) struct Shim {
    peer: Peer,
    desk: Arc<Desk>,
}

/// Where a shim's reports arrive.
struct Desk {
    sandbox: SandboxId,
    listener: Arc<OnceLock<Arc<dyn RuntimeListener>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Its end is our doing.
    dismissed: bool,
    /// Containers whose start has not been answered to its caller yet, with an end that came meanwhile.
    starting: HashMap<ContainerId, Option<Ended>>,
    /// Execs whose end is waited for.
    execs: HashMap<u64, oneshot::Sender<ExitStatus>>,
}

/// Holds back the report of a container's end until its start has been answered.
pub(crate) struct Starting {
    desk: Arc<Desk>,
    container: ContainerId,
}

/// Waits for the end of an exec; forgets it when dropped.
pub(crate) struct Ending {
    desk: Arc<Desk>,
    exec: u64,
    status: oneshot::Receiver<ExitStatus>,
}

// === impl Shims ===

impl Shims {
    pub(crate) fn new(folders: Folders) -> Self {
        Self { folders, listener: Arc::default(), cells: Mutex::default() }
    }

    pub(crate) fn report_to(&self, listener: Arc<dyn RuntimeListener>) {
        if self.listener.set(listener).is_err() {
            warn!("ends are reported to the first listener only");
        }
    }

    pub(crate) fn cell(&self, id: &SandboxId) -> Arc<Cell> {
        Arc::clone(lock(&self.cells).entry(id.clone()).or_default())
    }

    /// Forgets a sandbox that is gone.
    pub(crate) fn forget(&self, id: &SandboxId) {
        lock(&self.cells).remove(id);
    }

    /// Returns the shim of a sandbox; `None` when it has none.
    pub(crate) async fn find(&self, id: &SandboxId) -> Result<Option<Shim>> {
        let cell = self.cell(id);
        let found = self.find_in(&mut *cell.lock().await, id).await;
        if matches!(found, Ok(None)) {
            self.forget_unused(id, &cell);
        }
        found
    }

    /// Forgets a sandbox that was only asked about and has no shim: it may be gone for good, and nobody would do it later.
    pub(crate) fn forget_unused(&self, id: &SandboxId, cell: &Arc<Cell>) {
        let mut cells = lock(&self.cells);
        // Two: the map's and the caller's. Who raises or drops the sandbox meanwhile holds a third.
        if cells.get(id).is_some_and(|there| Arc::ptr_eq(there, cell)) && Arc::strong_count(cell) == 2 {
            cells.remove(id);
        }
    }

    /// Returns the shim of a sandbox, or says that what was tried needs one.
    pub(crate) async fn need(&self, id: &SandboxId, tried: &str) -> Result<Shim> {
        self.find(id).await?.ok_or_else(|| Error::NoShim { tried: tried.to_owned() })
    }

    /// Likewise, for who holds the sandbox's lock.
    pub(crate) async fn find_in(&self, held: &mut Option<Shim>, id: &SandboxId) -> Result<Option<Shim>> {
        if held.as_ref().is_none_or(|shim| !shim.peer.stands()) {
            *held = self.connect(id).await?;
        }
        Ok(held.clone())
    }

    async fn connect(&self, id: &SandboxId) -> Result<Option<Shim>> {
        let listener = Arc::clone(&self.listener);
        let desk = Arc::new(Desk { sandbox: id.clone(), listener, state: Mutex::default() });
        let socket = self.folders.sandbox(id).shim_socket();
        let peer = Peer::connect(&socket, format!("the shim of sandbox {id}"), Arc::clone(&desk)).await?;
        Ok(peer.map(|peer| Shim { peer, desk }))
    }
}

impl std::fmt::Debug for Shims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shims").field("folders", &self.folders).finish_non_exhaustive()
    }
}

// === impl Shim ===

impl Shim {
    /// Asks for something that is answered by [`orlop_wire::frame::Reply::Done`] at once.
    pub(crate) async fn ask_done(&self, tried: impl Into<String>, request: Request) -> Result<()> {
        self.peer.ask_done(tried, request, ASK_WITHIN).await
    }

    /// Asks for something and waits for the reply.
    pub(crate) async fn ask(
        &self,
        tried: impl Into<String>,
        request: Request,
        slots: Vec<OwnedFd>,
        bound: Duration,
    ) -> Result<Answered> {
        self.peer.ask(tried, request, slots, bound).await
    }

    /// Starts to hold back the end of a container that is being started.
    pub(crate) fn starting(&self, container: &ContainerId) -> Starting {
        lock(&self.desk.state).starting.insert(container.clone(), None);
        Starting { desk: Arc::clone(&self.desk), container: container.clone() }
    }

    /// Asks for an exec, and returns what to wait for, with the reply.
    pub(crate) async fn exec(
        &self,
        tried: &str,
        exec: orlop_wire::frame::Exec,
        slots: Vec<OwnedFd>,
    ) -> Result<(Answered, Ending)> {
        let (sender, status) = oneshot::channel();
        lock(&self.desk.state).execs.insert(exec.exec, sender);
        let ending = Ending { desk: Arc::clone(&self.desk), exec: exec.exec, status };
        let answered = self.peer.ask(tried, Request::Exec(exec), slots, EXEC_START_WITHIN).await?;
        Ok((answered, ending))
    }

    /// Says that its end is our doing, so that it is not reported.
    pub(crate) fn dismiss(&self) {
        lock(&self.desk.state).dismissed = true;
    }

    /// Waits until its process is gone, kills it after `patience`, and waits again. Says whether it is gone.
    pub(crate) async fn see_off(&self, patience: Duration, bound: Duration) -> bool {
        if self.peer.gone_within(patience).await {
            return true;
        }
        warn!(sandbox = %self.desk.sandbox, "the shim does not end by itself; killing it");
        if let Err(error) = self.peer.kill() {
            warn!(sandbox = %self.desk.sandbox, %error, "the shim can't be killed");
        }
        self.peer.gone_within(bound).await
    }
}

// === impl Desk ===

impl Hearing for Arc<Desk> {
    fn event(&self, event: Event) {
        match event {
            Event::Exited { container, record } => match ContainerId::parse(&container) {
                Ok(id) => self.exited(id, ended(&record)),
                Err(error) => warn!(sandbox = %self.sandbox, %error, "the shim reports the end of nothing we know"),
            },
            Event::ExecExited { exec, status, container } => match lock(&self.state).execs.remove(&exec) {
                // Who waited may have given up.
                Some(waits) => drop(waits.send(status)),
                None => debug!(container, exec, "an exec ended that nobody waits for"),
            },
        }
    }

    fn gone(&self) {
        let mut state = lock(&self.state);
        state.execs.clear();
        let dismissed = state.dismissed;
        drop(state);
        if let (false, Some(listener)) = (dismissed, self.listener.get()) {
            listener.shim_gone(&self.sandbox);
        }
    }
}

impl Desk {
    fn exited(&self, id: ContainerId, ended: Ended) {
        if let Some(held) = lock(&self.state).starting.get_mut(&id) {
            *held = Some(ended);
            return;
        }
        self.report(&id, ended);
    }

    fn report(&self, id: &ContainerId, ended: Ended) {
        match self.listener.get() {
            Some(listener) => listener.ended(&self.sandbox, id, ended),
            None => debug!(container = %id, "a container ended and nobody listens"),
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let held = lock(&self.desk.state).starting.remove(&self.container).flatten();
        if let Some(ended) = held {
            self.desk.report(&self.container, ended);
        }
    }
}

// === impl Ending ===

impl Ending {
    /// Waits for the end; `None` when the shim is gone.
    pub(crate) async fn wait(&mut self) -> Option<ExitStatus> {
        (&mut self.status).await.ok()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.desk.state).execs.remove(&self.exec);
    }
}

/// A panic while it was held left maps that are still maps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
