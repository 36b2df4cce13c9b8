//! What the facade keeps of a container beside the engine's own record: the request, and what has become of it since.

use crate::dto::config::{Config, CreateRequest};
use crate::dto::host_config::HostConfig;
use crate::policy::{self, HealthLog};
use crate::routes::networks::predefined::Network;
use crate::time::rfc3339;
use crate::volumes::VolumeUse;
use orlop_model::container_state::ContainerState;
use orlop_usecases::ContainerView;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::error;

/// The bytes of a container that are ours, as JSON. A field that is added has a default: records outlive daemons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Annex {
    /// Without a slash; unique among ours.
    pub(crate) name: String,
    /// The portable part, completed from the image.
    pub(crate) config: Config,
    /// The rest, completed with defaults.
    pub(crate) host_config: HostConfig,
    /// What policies keep of it: what its user wants, restarts, health.
    pub(crate) kept: crate::policy::Kept,
    /// Its first arguments, for lists: program and the rest.
    pub(crate) command: Vec<String>,
    /// Its volumes.
    pub(crate) volumes: Vec<VolumeUse>,
    /// Whether its image has not been looked at yet for what is to be copied into them.
    pub(crate) unfilled: bool,
}

impl Annex {
    /// Returns the annex of a request.
    pub(crate) fn of(name: String, asked: CreateRequest, command: &[String]) -> Self {
        let command = command.to_vec();
        Self { name, config: asked.config, host_config: asked.host_config, command, ..Self::default() }
    }

    /// Says whether it has ended and a policy is about to start it again.
    pub(crate) fn is_restarting(&self, state: &ContainerState) -> bool {
        policy::is_restarting(&policy::rules(self), &self.kept, state)
    }

    /// Says whether its user wants it to run, and a policy starts it again whenever it ends.
    pub(crate) fn is_kept_running(&self) -> bool {
        policy::is_kept_running(&policy::rules(self), &self.kept)
    }

    /// Returns what was seen of the health of what runs; `None` when nobody looks at it.
    fn health(&self, state: &ContainerState) -> Option<HealthLog> {
        policy::rules(self).health?;
        Some(state.task().map_or_else(|| self.kept.health.clone(), |task| self.kept.health.of_run(task.started)))
    }

    /// Returns its health in a word.
    pub(crate) fn health_word(&self, state: &ContainerState) -> &'static str {
        match self.health(state).map(|health| health.status) {
            None => "none",
            Some(policy::Status::Starting) => "starting",
            Some(policy::Status::Healthy) => "healthy",
            Some(policy::Status::Unhealthy) => "unhealthy",
        }
    }

    /// Returns what `docker ps` says of its health, with a space in front.
    pub(crate) fn health_suffix(&self, state: &ContainerState) -> &'static str {
        match self.health(state).map(|health| health.status) {
            None => "",
            Some(policy::Status::Starting) => " (health: starting)",
            Some(policy::Status::Healthy) => " (healthy)",
            Some(policy::Status::Unhealthy) => " (unhealthy)",
        }
    }

    /// Returns its health as inspect shows it; `None` when nobody looks at it.
    pub(crate) fn health_shown(&self, state: &ContainerState) -> Option<Value> {
        let health = self.health(state)?;
        let log = health.results.iter().map(|probe| {
            json!({
                "Start": rfc3339(probe.began), "End": rfc3339(probe.ended), "ExitCode": probe.exit_code, "Output": probe.output,
            })
        });
        let log: Vec<Value> = log.collect();
        Some(json!({ "Status": self.health_word(state), "FailingStreak": health.failing_streak, "Log": log }))
    }

    /// Returns when it ended last, for one that runs again.
    pub(crate) fn last_finished(&self) -> String {
        crate::time::NEVER.to_owned()
    }

    /// Returns the network it is on; `None` when that is another container's.
    pub(crate) fn network(&self) -> Option<Network> {
        if self.config.network_disabled {
            return Some(Network::None);
        }
        match self.host_config.network_mode.as_str() {
            "" | "default" => Some(Network::Bridge),
            name => Network::find(name),
        }
    }

    /// Reads the annex of a container, once. What can't be read is empty, and said in the log: the record is shown, with what the
    /// engine knows.
    pub(crate) fn read(view: &ContainerView) -> Arc<Self> {
        view.read_annex(|bytes| {
            serde_json::from_slice(bytes).unwrap_or_else(|wrong| {
                let container = &view.asked.id;
                error!(%container, %wrong, "the annex of a container can't be read: it has no name, and no policy applies to it");
                Self::default()
            })
        })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps have text keys and no value refuses to be written")
    }
}
