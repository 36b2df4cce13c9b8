//! The stock docker CLI against a daemon under test.

use crate::node::Node;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Name of the daemon's socket on its ground.
const SOCKET: &str = "docker.sock";

/// The docker CLI, talking to one daemon.
#[derive(Debug)]
pub struct Docker<'a> {
    node: &'a Node,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Exit status; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Node {
    /// Returns the settings of a daemon that serves Docker clients too.
    #[must_use]
    pub fn docker_settings(ground: &crate::ground::Ground) -> [(&'static str, String); 1] {
        [("--docker-socket", ground.join(SOCKET).display().to_string())]
    }

    /// Returns a docker CLI of it.
    ///
    /// # Panics
    /// When it serves no Docker clients.
    #[must_use]
    pub fn docker(&self) -> Docker<'_> {
        assert!(self.setting("--docker-socket").is_some(), "the daemon was started without a Docker socket");
        Docker { node: self }
    }
}

impl Docker<'_> {
    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(self.node.setting("--docker-socket").unwrap_or_default())
    }

    /// Returns a command to be given more.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.node.command("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.node.ground().join("docker-config"));
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When there is no docker CLI.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        said(&self.command(args).output().expect("the docker CLI is on PATH"))
    }

    /// Runs a command that must succeed, and returns its output without the last line break.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S> + Clone) -> String {
        let shown: Vec<String> =
            args.clone().into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
        let said = self.run(args);
        assert_eq!(said.code, 0, "docker {}: {}{}", shown.join(" "), said.stdout, said.stderr);
        said.stdout.trim_end().to_owned()
    }

    /// Removes every container. Where there is no CLI, whoever made them by other means has removed them.
    pub fn remove_all(&self) {
        let Ok(listed) = self.command(["ps", "-aq"]).output() else { return };
        let ids = said(&listed).stdout;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            self.run(["rm", "-f"].into_iter().chain(ids));
        }
    }
}

/// Returns what a process said.
#[must_use]
pub fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}
