//! Streams of containers, programs run in them, and what is inside them. Goes straight to the shim: neither a stop under way
//! nor anything else of the sandbox is waited for. A place among the requests under way is taken only until a stream is open.

use super::{Facade, gone};
use crate::exec::{self, Asked};
use crate::registry::ContainerView;
use crate::running::{Paused, running};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::ports::{ExecIo, ExecOutput, ExecOverrides, OpenExec};
use orlop_model::sandbox_state::SandboxState;
use orlop_model::streams::{Attached, TerminalSize, WantedStreams};
use orlop_model::{ContainerId, SandboxId};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

impl Facade {
    /// Runs a program in a running container and waits for its end. Each output is cut at `output_bytes_max`.
    pub async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Option<Duration>,
        output_bytes_max: usize,
    ) -> Result<ExecOutput> {
        let _slot = self.slot()?;
        let (view, pod) = self.with_pod(id)?;
        let overrides = &ExecOverrides::default();
        exec::run(self.node(), Asked { pod: &pod, view: &view, command, overrides }, timeout, output_bytes_max).await
    }

    /// Runs a program in a running container, its streams in the caller's hands.
    pub async fn exec_open(
        &self,
        id: &ContainerId,
        command: &[String],
        io: ExecIo,
        overrides: &ExecOverrides,
    ) -> Result<OpenExec> {
        let _slot = self.slot()?;
        let (view, pod) = self.with_pod(id)?;
        exec::open(self.node(), Asked { pod: &pod, view: &view, command, overrides }, io).await
    }

    /// Checks what would keep a program from being run now, such as a user who is not there.
    pub async fn check_exec(&self, id: &ContainerId, command: &[String], overrides: &ExecOverrides) -> Result<()> {
        let _slot = self.slot()?;
        let (view, pod) = self.with_pod(id)?;
        exec::check(self.node(), Asked { pod: &pod, view: &view, command, overrides }).await
    }

    /// Gives a client its share in the streams of a running container.
    pub async fn attach(&self, id: &ContainerId, wanted: WantedStreams) -> Result<Attached> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        running(&view, "attach to", Paused::Refused)?;
        self.node().ports.runtime.attach(&view.asked.spec.sandbox, id, wanted).await
    }

    /// Closes the standard input of a running container for good.
    pub async fn close_stdin(&self, id: &ContainerId) -> Result<()> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        running(&view, "close the standard input of", Paused::Counts)?;
        self.node().ports.runtime.close_stdin(&view.asked.spec.sandbox, id).await
    }

    /// Sets the size of a running container's terminal.
    pub async fn resize(&self, id: &ContainerId, size: TerminalSize) -> Result<()> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        running(&view, "resize the terminal of", Paused::Counts)?;
        self.node().ports.runtime.resize(&view.asked.spec.sandbox, id, size).await
    }

    /// Connects to a TCP port on the loopback of a sandbox that is ready.
    pub async fn connect(&self, id: &SandboxId, port: u16) -> Result<OwnedFd> {
        let _slot = self.slot()?;
        let view = self.own_sandbox(id)?;
        if !matches!(view.state, SandboxState::Ready { .. }) {
            let message = format!("connect to port {port} of sandbox {id}: the sandbox is not ready");
            return Err(Failure::new(ErrorKind::WrongState, message));
        }
        self.node().ports.runtime.connect(id, port).await
    }

    /// Lists the processes of a running container, by their ids on the node.
    pub async fn processes(&self, id: &ContainerId) -> Result<Vec<u32>> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        running(&view, "list the processes of", Paused::Counts)?;
        self.node().ports.runtime.processes(&view.asked.spec.sandbox, id).await
    }

    /// Opens the root folder of a running container as its processes see it; see
    /// [`root_of`](orlop_model::ports::Runtime::root_of).
    pub async fn root_of(&self, id: &ContainerId) -> Result<OwnedFd> {
        let _slot = self.slot()?;
        let view = self.own_container(id)?;
        running(&view, "open the root of", Paused::Counts)?;
        self.node().ports.runtime.root_of(&view.asked.spec.sandbox, id).await
    }

    fn with_pod(&self, id: &ContainerId) -> Result<(Arc<ContainerView>, Arc<crate::registry::SandboxView>)> {
        let view = self.own_container(id)?;
        let pod = &view.asked.spec.sandbox;
        let (pod, _) = self.node().registry.sandbox(pod).ok_or_else(|| gone("sandbox", pod))?;
        Ok((view, pod))
    }
}
