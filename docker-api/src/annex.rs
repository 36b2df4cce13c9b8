//! What the facade keeps of a container beside the engine's own record: the request, and what has become of it since.

use crate::dto::config::{Config, CreateRequest};
use crate::dto::host_config::HostConfig;
use crate::routes::networks::predefined::Network;
use orlop_model::Timestamp;
use orlop_usecases::ContainerView;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// How often a policy has started it again.
    pub(crate) restart_count: u32,
    /// Whether it has ended and a policy is about to start it again.
    pub(crate) restarting: bool,
    /// Whether its user stopped it, so that no policy starts it again.
    pub(crate) stopped_by_user: bool,
    /// Its first arguments, for lists: program and the rest.
    pub(crate) command: Vec<String>,
    /// When a healthy container last started, for the reset of the back-off.
    pub(crate) last_started: Option<Timestamp>,
}

impl Annex {
    /// Returns the annex of a request.
    pub(crate) fn of(name: String, asked: CreateRequest, command: &[String]) -> Self {
        let command = command.to_vec();
        Self { name, config: asked.config, host_config: asked.host_config, command, ..Self::default() }
    }

    /// Says whether it has ended and a policy is about to start it again.
    pub(crate) fn is_restarting(&self) -> bool {
        self.restarting
    }

    /// Returns what `docker ps` says of its health, with a space in front.
    pub(crate) fn health_suffix(&self) -> &'static str {
        ""
    }

    /// Returns its health in a word.
    pub(crate) fn health_word(&self) -> &'static str {
        "none"
    }

    /// Returns its health as inspect shows it; `None` when nobody looks at it.
    pub(crate) fn health_shown(&self) -> Option<Value> {
        None
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

    /// Reads the annex of a container. What can't be read is empty: the record is shown, with what the engine knows.
    pub(crate) fn read(view: &ContainerView) -> Self {
        Self::parse(&view.asked.annex)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps have text keys and no value refuses to be written")
    }
}
