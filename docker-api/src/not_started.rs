//! Why a program could not be started, in the words from which clients and people tell what was wrong.
//!
//! The core says which step failed; what was in the way is found by looking at the container's files.

use crate::app::App;
use orlop_model::ContainerId;
use orlop_model::files::FileKind;
use std::path::Path;

/// Exit status of a program that is not there; sh(1).
pub(crate) const NOT_FOUND: u8 = 127;
/// Exit status of a program that is there and can't be run.
pub(crate) const NOT_RUNNABLE: u8 = 126;

/// A program that could not be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotStarted<'a> {
    /// What the core gave it.
    pub(crate) code: u8,
    pub(crate) program: &'a str,
    /// Its working folder; empty for none of its own.
    pub(crate) folder: &'a str,
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The program: a sentence about it.
    Program(String),
    /// Its working folder is none: a sentence about that.
    NoFolder(String),
    /// Neither.
    Other,
}

impl NotStarted<'_> {
    /// Looks what was in the way.
    pub(crate) async fn look(self, app: &App, container: &ContainerId) -> Why {
        match self.code {
            NOT_FOUND | NOT_RUNNABLE => {
                let kind = self.kind(app, container, self.program).await;
                Why::Program(self.of_program(kind))
            }
            _ if !self.folder.is_empty() => self.of_folder(self.kind(app, container, self.folder).await),
            _ => Why::Other,
        }
    }

    /// Returns what a path names; `None` when there is nothing, or no path.
    async fn kind(self, app: &App, container: &ContainerId, path: &str) -> Option<FileKind> {
        if !path.starts_with('/') {
            return None;
        }
        app.facade.stat_file(container, Path::new(path)).await.ok().map(|stat| stat.kind)
    }

    fn of_program(self, kind: Option<FileKind>) -> String {
        let program = self.program;
        let why = match (self.code, kind) {
            (_, Some(FileKind::Folder)) => "is a directory: permission denied".to_owned(),
            (NOT_FOUND, _) if !program.contains('/') => "executable file not found in $PATH".to_owned(),
            (NOT_FOUND, None) => format!("stat {program}: no such file or directory"),
            // It is there: what it names as its interpreter is not.
            (NOT_FOUND, Some(_)) => "no such file or directory".to_owned(),
            _ => "permission denied".to_owned(),
        };
        format!("exec: {program:?}: {why}")
    }

    fn of_folder(self, kind: Option<FileKind>) -> Why {
        let why = match kind {
            Some(FileKind::Folder) => return Why::Other,
            Some(_) => "not a directory",
            None => "no such file or directory",
        };
        Why::NoFolder(format!("chdir to cwd ({:?}) set in config.json failed: {why}", self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_with_a_program_is_said_as_clients_know_it() {
        let said = |code, program, kind| NotStarted { code, program, folder: "" }.of_program(kind);
        for (code, program, kind, why) in [
            (127, "nosuch", None, "exec: \"nosuch\": executable file not found in $PATH"),
            (127, "/nosuch", None, "exec: \"/nosuch\": stat /nosuch: no such file or directory"),
            (127, "/script", Some(FileKind::File), "exec: \"/script\": no such file or directory"),
            (126, "/etc/passwd", Some(FileKind::File), "exec: \"/etc/passwd\": permission denied"),
            (126, "/etc", Some(FileKind::Folder), "exec: \"/etc\": is a directory: permission denied"),
        ] {
            assert_eq!(said(code, program, kind), why);
        }
    }

    #[test]
    fn a_folder_that_is_none_is_what_was_wrong() {
        let why = |kind| NotStarted { code: 128, program: "x", folder: "/nosuch" }.of_folder(kind);
        let missing = "chdir to cwd (\"/nosuch\") set in config.json failed: no such file or directory";
        assert_eq!(why(None), Why::NoFolder(missing.to_owned()));
        assert!(matches!(why(Some(FileKind::File)), Why::NoFolder(_)));
        assert_eq!(why(Some(FileKind::Folder)), Why::Other);
    }
}
