//! A program to run in a running container.

use crate::http::fields::{Field, Kind, honoured};
use serde::{Deserialize, Serialize};

/// Fields of `ExecConfig`.
pub(crate) const EXEC: &[Field] = &[
    honoured("AttachStdin", Kind::Bool),
    honoured("AttachStdout", Kind::Bool),
    honoured("AttachStderr", Kind::Bool),
    honoured("ConsoleSize", Kind::Numbers),
    honoured("DetachKeys", Kind::Text),
    honoured("Tty", Kind::Bool),
    honoured("Env", Kind::Texts),
    // A list and nothing else, unlike that of a container.
    honoured("Cmd", Kind::Texts),
    honoured("Privileged", Kind::Bool),
    honoured("User", Kind::Text),
    honoured("WorkingDir", Kind::Text),
    // Written by older clients, and decided by the start.
    honoured("Detach", Kind::Bool),
];

/// Fields of `ExecStartConfig`.
pub(crate) const EXEC_START: &[Field] =
    &[honoured("Detach", Kind::Bool), honoured("Tty", Kind::Bool), honoured("ConsoleSize", Kind::Numbers)];

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecRequest {
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) console_size: Option<Vec<i64>>,
    pub(crate) detach_keys: String,
    pub(crate) tty: bool,
    pub(crate) env: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) user: String,
    pub(crate) working_dir: String,
}

/// How it is started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecStartRequest {
    pub(crate) detach: bool,
    pub(crate) tty: bool,
    pub(crate) console_size: Option<Vec<i64>>,
}
