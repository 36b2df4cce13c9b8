//! Runs a program in a running container.

use crate::engine::Node;
use crate::registry::{ContainerView, SandboxView};
use crate::running::{Paused, running};
use orlop_model::container_state::Checked;
use orlop_model::error::Result;
use orlop_model::image::ImageConfig;
use orlop_model::ports::{Exec, ExecIo, ExecOutput, ExecOverrides, OpenExec};
use std::time::Duration;

/// A program to run beside a container's own.
pub(crate) struct Asked<'a> {
    pub(crate) pod: &'a SandboxView,
    pub(crate) view: &'a ContainerView,
    pub(crate) command: &'a [String],
    pub(crate) overrides: &'a ExecOverrides,
}

/// Runs it, collects its output and waits for its end.
pub(crate) async fn run(
    node: &Node,
    asked: Asked<'_>,
    timeout: Option<Duration>,
    output_bytes_max: usize,
) -> Result<ExecOutput> {
    let checked = asked.checked()?;
    let image = node.ports.images.config_of(&asked.view.asked.id).await?;
    let exec = Exec { timeout, output_bytes_max, ..asked.exec(checked, &image) };
    node.ports.runtime.exec(exec).await
}

/// Runs it with its streams in the caller's hands.
pub(crate) async fn open(node: &Node, asked: Asked<'_>, io: ExecIo) -> Result<OpenExec> {
    let checked = asked.checked()?;
    let image = node.ports.images.config_of(&asked.view.asked.id).await?;
    node.ports.runtime.exec_open(asked.exec(checked, &image), io).await
}

/// Checks what would keep it from being run now.
pub(crate) async fn check(node: &Node, asked: Asked<'_>) -> Result<()> {
    let checked = asked.checked()?;
    let image = node.ports.images.config_of(&asked.view.asked.id).await?;
    node.ports.runtime.check_exec(asked.exec(checked, &image)).await
}

impl<'a> Asked<'a> {
    fn checked(&self) -> Result<&'a Checked> {
        Ok(&running(self.view, "run a program in", Paused::Refused)?.checked)
    }

    fn exec(&self, checked: &'a Checked, image: &'a ImageConfig) -> Exec<'a> {
        Exec {
            sandbox_id: &self.pod.asked.id,
            sandbox: &self.pod.asked.spec,
            id: &self.view.asked.id,
            container: &self.view.asked.spec,
            resources: &self.view.asked.resources,
            image,
            checked,
            overrides: self.overrides,
            command: self.command,
            timeout: None,
            output_bytes_max: 0,
        }
    }
}
