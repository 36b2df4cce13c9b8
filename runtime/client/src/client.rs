//! The adapter: each method of the port is one function of the file named after what it does.

use crate::blocking::Threads;
use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::folders::Folders;
use crate::host::Node;
use crate::shims::Shims;
use crate::spawner::Spawner;
use crate::{attach, connect, container, exec, inside, prepare, reopen, sandbox, start, update, usage};
use orlop_model::container::{LogPath, Resources};
use orlop_model::container_state::{Checked, Ended};
use orlop_model::ports::{
    Answer, Exec, ExecIo, ExecOutput, Launched, NetworkNamespace, Observed, OpenExec, Runtime, RuntimeListener, Start,
    Update,
};
use orlop_model::sandbox::SandboxSpec;
use orlop_model::sandbox_state::Attachment;
use orlop_model::streams::{Attached, TerminalSize, WantedStreams};
use orlop_model::usage::{Usage, UsageOf};
use orlop_model::{ContainerId, Failure, SandboxId};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Sandboxes and processes, over one spawner and a shim for each sandbox. Needs a tokio runtime with IO and time.
#[derive(Debug)]
pub struct Client {
    pub(crate) config: Arc<Config>,
    pub(crate) folders: Folders,
    pub(crate) threads: Arc<Threads>,
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) spawner: Spawner,
    pub(crate) shims: Shims,
    pub(crate) node: Node,
    pub(crate) profiles: prepare::Profiles,
    /// Number of the next exec. A shim outlives daemons and must not see a number twice: it starts at the clock.
    next_exec: AtomicU64,
}

impl Client {
    /// Makes the adapter. Starts nothing: the first sandbox starts the spawner.
    pub fn new(config: Config) -> std::result::Result<Self, crate::Error> {
        let config = Arc::new(config);
        let folders = Folders::new(config.run_dir.clone());
        folders.make()?;
        let threads = Arc::new(Threads::new());
        let cgroups = Arc::new(Cgroups::new(&config.cgroup_root, config.run_dir.join("cgroup-root"))?);
        let node = Node::look(cgroups.hierarchies().clone())?;
        let spawner = Spawner::new(Arc::clone(&config), folders.clone(), Arc::clone(&threads), Arc::clone(&cgroups));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Ok(Self {
            shims: Shims::new(folders.clone()),
            config,
            folders,
            threads,
            cgroups,
            spawner,
            node,
            profiles: prepare::Profiles::default(),
            next_exec: AtomicU64::new(u64::try_from(now).unwrap_or(0)),
        })
    }

    /// Ends in order: with no sandbox left ends the spawner, waits for it, and removes the cgroups made for it.
    /// Says whether it did; with a sandbox left everything stays as it is.
    pub async fn end(&self) -> std::result::Result<bool, Failure> {
        Ok(self.end_in_order().await?)
    }

    async fn end_in_order(&self) -> Result<bool> {
        if !sandbox::leftovers(self).await?.is_empty() {
            return Ok(false);
        }
        self.spawner.end().await?;
        let cgroups = Arc::clone(&self.cgroups);
        self.threads.own("remove the cgroups of shims", move || cgroups.end()).await?;
        let folders = self.folders.clone();
        self.threads.own("remove the folder of sandboxes", move || folders.end()).await?;
        Ok(true)
    }

    /// The binary is looked for although a living spawner has its own copy: an upgrade that lost it should show before the
    /// next spawner is needed.
    async fn is_ready(&self) -> Result<()> {
        let path = self.config.shim_path.clone();
        let look = move || match path.metadata() {
            Ok(found) if found.is_file() => Ok(()),
            Ok(_) => Err(Error::Missing(format!("the shim binary {} is not a file", path.display()))),
            Err(error) => Err(Error::Missing(format!("the shim binary {}: {error}", path.display()))),
        };
        self.threads.own("look for the shim binary", look).await?;
        self.spawner.ready().await
    }

    pub(crate) fn next_exec(&self) -> u64 {
        self.next_exec.fetch_add(1, Ordering::Relaxed)
    }
}

/// Turns what a function of ours answers into what the port does.
fn answer<'a, T>(work: impl Future<Output = Result<T>> + Send + 'a) -> Answer<'a, std::result::Result<T, Failure>> {
    Box::pin(async move { work.await.map_err(Failure::from) })
}

impl Runtime for Client {
    fn report_to(&self, listener: Arc<dyn RuntimeListener>) {
        self.shims.report_to(listener);
    }

    fn raise<'a>(&'a self, id: &'a SandboxId, spec: &'a SandboxSpec) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(sandbox::raise(self, id, spec))
    }

    fn network_namespace<'a>(
        &'a self,
        id: &'a SandboxId,
    ) -> Answer<'a, std::result::Result<NetworkNamespace, Failure>> {
        answer(sandbox::network_namespace(self, id))
    }

    fn write_hosts<'a>(
        &'a self,
        id: &'a SandboxId,
        spec: &'a SandboxSpec,
        attachments: &'a [Attachment],
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(sandbox::write_hosts(self, id, spec, attachments))
    }

    fn drop_sandbox<'a>(
        &'a self,
        id: &'a SandboxId,
    ) -> Answer<'a, std::result::Result<Vec<(ContainerId, Ended)>, Failure>> {
        answer(sandbox::drop(self, id))
    }

    fn observe<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, std::result::Result<Observed, Failure>> {
        answer(sandbox::observe(self, id))
    }

    fn leftovers(&self) -> Answer<'_, std::result::Result<Vec<SandboxId>, Failure>> {
        answer(sandbox::leftovers(self))
    }

    fn check<'a>(&'a self, start: Start<'a>) -> Answer<'a, std::result::Result<Checked, Failure>> {
        answer(start::check(self, start))
    }

    fn start<'a>(&'a self, start: Start<'a>) -> Answer<'a, std::result::Result<Launched, Failure>> {
        answer(start::start(self, start))
    }

    fn signal<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        signal: u8,
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(container::signal(self, sandbox, id, signal))
    }

    fn kill<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(container::kill(self, sandbox, id))
    }

    fn freeze<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(container::freeze(self, sandbox, id))
    }

    fn thaw<'a>(&'a self, sandbox: &'a SandboxId, id: &'a ContainerId) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(container::thaw(self, sandbox, id))
    }

    fn drop_task<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(container::drop(self, sandbox, id))
    }

    fn exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, std::result::Result<ExecOutput, Failure>> {
        answer(exec::exec(self, exec))
    }

    fn exec_open<'a>(&'a self, exec: Exec<'a>, io: ExecIo) -> Answer<'a, std::result::Result<OpenExec, Failure>> {
        answer(exec::exec_open(self, exec, io))
    }

    fn check_exec<'a>(&'a self, exec: Exec<'a>) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(exec::check(self, exec))
    }

    fn attach<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        wanted: WantedStreams,
    ) -> Answer<'a, std::result::Result<Attached, Failure>> {
        answer(attach::attach(self, sandbox, id, wanted))
    }

    fn close_stdin<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(attach::close_stdin(self, sandbox, id))
    }

    fn resize<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        size: TerminalSize,
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(attach::resize(self, sandbox, id, size))
    }

    fn connect<'a>(&'a self, sandbox: &'a SandboxId, port: u16) -> Answer<'a, std::result::Result<OwnedFd, Failure>> {
        answer(connect::connect(self, sandbox, port))
    }

    fn processes<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
    ) -> Answer<'a, std::result::Result<Vec<u32>, Failure>> {
        answer(inside::processes(self, sandbox, id))
    }

    fn root_of<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
    ) -> Answer<'a, std::result::Result<OwnedFd, Failure>> {
        answer(inside::root_of(self, sandbox, id))
    }

    fn reopen_log<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        id: &'a ContainerId,
        log: &'a LogPath,
    ) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(reopen::reopen(self, sandbox, id, log))
    }

    fn update<'a>(&'a self, update: Update<'a>) -> Answer<'a, std::result::Result<(), Failure>> {
        answer(update::update(self, update))
    }

    fn check_limits(&self, limits: &Resources) -> std::result::Result<(), Failure> {
        Ok(update::check(self, limits)?)
    }

    fn usage<'a>(&'a self, of: &'a [UsageOf<'a>]) -> Answer<'a, std::result::Result<Vec<Option<Usage>>, Failure>> {
        answer(usage::usage(self, of))
    }

    fn ready(&self) -> Answer<'_, std::result::Result<(), Failure>> {
        answer(self.is_ready())
    }
}
