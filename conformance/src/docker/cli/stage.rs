//! Where the script is played: a folder, the docker CLI, and a daemon.

use super::rules::Rules;
use super::run::{Ended, run};
use super::terminal;
use super::transcript::{Seen, Step};
use crate::docker::dockerd;
use crate::docker::subject::Daemon;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words that the script's lines may use.
const WORDS: &str = include_str!("../../../docker/words.sh");
/// The folder in which a scene is played: new for each.
const FOLDER: &str = "scene";

/// A stage with a daemon behind it.
pub struct Stage<'a> {
    daemon: &'a Daemon,
    rules: Rules,
}

// === impl Stage ===

impl<'a> Stage<'a> {
    /// Sets it up.
    pub fn set_up(daemon: &'a Daemon) -> io::Result<Self> {
        let ground = daemon.ground();
        for folder in ["bin", "config"] {
            fs::create_dir_all(ground.join(folder))?;
        }
        place_cli(&ground.join("bin/docker"))?;
        fs::write(ground.join("bin/words.sh"), WORDS)?;
        Ok(Self { daemon, rules: Rules::of(ground.path()) })
    }

    /// Gives the next scene an empty folder, and nothing of the one before.
    pub fn clear(&self) -> io::Result<()> {
        self.daemon.clear()?;
        let folder = self.folder();
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => (),
        }
        fs::create_dir(&folder)
    }

    /// Does what prepares a step; fails with what was said when it doesn't work.
    pub fn prepare(&self, words: &str) -> io::Result<()> {
        let ended = run(self.command("sh", &[], words))?;
        if ended.code == 0 {
            return Ok(());
        }
        let Ended { stdout, stderr, code } = ended;
        Err(io::Error::other(format!("could not prepare, exit code {code}: {words}\n{stdout}{stderr}")))
    }

    /// Does a step and returns what was seen, through the rules.
    pub fn perform(&self, step: &Step) -> io::Result<Seen> {
        let ended = match step.terminal {
            None => run(self.command("sh", &[], &step.command))?,
            Some(size) => {
                let command = self.command("setsid", &["--ctty", "--wait", "sh"], &step.command);
                terminal::play(command, size, &step.moves)?
            }
        };
        let Ended { stdout, stderr, code } = ended;
        Ok(Seen { stdout: self.rules.apply(&stdout), stderr: self.rules.apply(&stderr), code })
    }

    fn folder(&self) -> PathBuf {
        self.daemon.ground().join(FOLDER)
    }

    /// A shell in the daemon's network, which knows the CLI, the socket and the script's words.
    pub(super) fn command(&self, program: &str, arguments: &[&str], words: &str) -> Command {
        let ground = self.daemon.ground();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = ground.command(program);
        command.args(arguments).arg("-c").arg(format!(". {}; {words}", ground.join("bin/words.sh").display()));
        command.current_dir(self.folder());
        command.env("PATH", format!("{}:{path}", ground.join("bin").display()));
        command.env("DOCKER_HOST", format!("unix://{}", self.daemon.socket().display()));
        // Neither a person's settings nor hints to a person.
        command.env("DOCKER_CONFIG", ground.join("config")).env("DOCKER_CLI_HINTS", "false");
        command.env("HOME", ground.path()).env("TERM", "xterm").env("LC_ALL", "C").env("TZ", "UTC");
        for name in ["DOCKER_API_VERSION", "DOCKER_CONTEXT", "DOCKER_DEFAULT_PLATFORM", "DOCKER_TLS_VERIFY"] {
            command.env_remove(name);
        }
        command
    }
}

/// Puts the docker CLI in its place: the one on PATH, or else Debian testing's, run by its own loader.
fn place_cli(place: &Path) -> io::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("docker")).find(|program| program.is_file());
    if let Some(program) = found {
        return symlink(program, place);
    }
    let root = dockerd::tree()?.root;
    let root = root.display();
    let loader = format!("{root}/lib64/ld-linux-x86-64.so.2 --library-path {root}/usr/lib/x86_64-linux-gnu");
    fs::write(place, format!("#!/bin/sh\nexec {loader} {root}/usr/bin/docker \"$@\"\n"))?;
    fs::set_permissions(place, Permissions::from_mode(0o755))
}
