//! The portable part of a container, and the request that creates one.

use super::endpoint::{NETWORKING, NetworkingConfig};
use super::host_config::{HOST_CONFIG, HostConfig};
use super::{Nothing, TextMap};
use crate::http::fields::{Field, Kind, honoured, windows};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fields of `ContainerConfig`, and of the request around it.
pub(crate) const CREATE: &[Field] = &[
    honoured("Hostname", Kind::Text),
    honoured("Domainname", Kind::Text),
    honoured("User", Kind::Text),
    honoured("AttachStdin", Kind::Bool),
    honoured("AttachStdout", Kind::Bool),
    honoured("AttachStderr", Kind::Bool),
    honoured("ExposedPorts", Kind::Set),
    honoured("Tty", Kind::Bool),
    honoured("OpenStdin", Kind::Bool),
    honoured("StdinOnce", Kind::Bool),
    honoured("Env", Kind::Texts),
    honoured("Cmd", Kind::Words),
    honoured("Healthcheck", Kind::Object(HEALTH)),
    windows("ArgsEscaped", Kind::Bool, &[]),
    honoured("Image", Kind::Text),
    honoured("Volumes", Kind::Set),
    honoured("WorkingDir", Kind::Text),
    honoured("Entrypoint", Kind::Words),
    honoured("NetworkDisabled", Kind::Bool),
    honoured("MacAddress", Kind::Text),
    // Of images; a container only repeats them.
    honoured("OnBuild", Kind::Texts),
    honoured("Labels", Kind::TextMap),
    honoured("StopSignal", Kind::Text),
    honoured("StopTimeout", Kind::Number),
    honoured("Shell", Kind::Words),
    // Where docker-py writes it.
    honoured("Runtime", Kind::Text),
    honoured("HostConfig", Kind::Object(HOST_CONFIG)),
    honoured("NetworkingConfig", Kind::Object(NETWORKING)),
];

/// Fields of `HealthConfig`.
const HEALTH: &[Field] = &[
    honoured("Test", Kind::Texts),
    honoured("Interval", Kind::Number),
    honoured("Timeout", Kind::Number),
    honoured("Retries", Kind::Number),
    honoured("StartPeriod", Kind::Number),
    honoured("StartInterval", Kind::Number),
];

/// A request to create a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CreateRequest {
    #[serde(flatten)]
    pub(crate) config: Config,
    pub(crate) host_config: HostConfig,
    pub(crate) networking_config: NetworkingConfig,
    /// A runtime named outside of [`HostConfig`]; one that is not known is ignored there, as by dockerd.
    pub(crate) runtime: String,
}

/// The portable part of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) user: String,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) exposed_ports: BTreeMap<String, Nothing>,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<Health>,
    pub(crate) image: String,
    pub(crate) volumes: Option<BTreeMap<String, Nothing>>,
    pub(crate) working_dir: String,
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) network_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) mac_address: String,
    pub(crate) on_build: Option<Vec<String>>,
    pub(crate) labels: Option<TextMap>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shell: Option<Vec<String>>,
}

/// How a container's health is looked at. Times are nanoseconds; 0 takes the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    /// `NONE`, or `CMD` and a command, or `CMD-SHELL` and a line; empty takes the image's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) retries: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_interval: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
