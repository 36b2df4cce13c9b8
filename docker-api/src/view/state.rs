//! The state of a container in the words of Docker.

use super::duration::words;
use crate::annex::Annex;
use crate::time::{NEVER, rfc3339};
use orlop_model::Timestamp;
use orlop_model::container_state::{ContainerState, Ended, Exit};
use serde_json::{Value, json};

/// What `State.Status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
}

impl Status {
    pub(crate) const ALL: [&'static str; 7] =
        ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

    /// Returns the status of a container.
    pub(crate) fn of(state: &ContainerState, annex: &Annex) -> Self {
        match state {
            ContainerState::Starting { .. } if annex.is_kept_running() => Self::Restarting,
            ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
                Self::Created
            }
            ContainerState::Running(_) | ContainerState::Stopping { .. } | ContainerState::Lost(_) => Self::Running,
            ContainerState::Frozen(_) => Self::Paused,
            ContainerState::Exited { .. } if annex.is_restarting(state) => Self::Restarting,
            // What never ran has not exited, whatever was wrong.
            ContainerState::Exited { ended, .. } if ended.started.is_none() => Self::Created,
            ContainerState::Exited { .. } => Self::Exited,
            ContainerState::Removing(_) | ContainerState::Gone { .. } => Self::Removing,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
        }
    }

    /// Says whether it counts as running: a list without `all` shows it.
    pub(crate) fn is_running(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Restarting => true,
            Self::Created | Self::Removing | Self::Exited => false,
        }
    }
}

/// Returns the exit status that clients get.
pub(crate) fn exit_code(exit: &Exit) -> i64 {
    match exit {
        Exit::Code { code, .. } | Exit::NeverStarted { code, .. } => i64::from(*code),
        Exit::Signal { signal, .. } => 128 + i64::from(*signal),
        Exit::Unstarted => 0,
        // Nobody saw it: dockerd says 255 then.
        Exit::Unknown => 255,
    }
}

/// Says whether the kernel killed a process of it for memory.
pub(crate) fn oom(exit: &Exit) -> bool {
    match exit {
        Exit::Code { oom, .. } | Exit::Signal { oom, .. } => *oom,
        Exit::NeverStarted { .. } | Exit::Unstarted | Exit::Unknown => false,
    }
}

/// Returns why it could not be started.
pub(crate) fn start_error(exit: &Exit) -> &str {
    match exit {
        Exit::NeverStarted { message, .. } => message,
        Exit::Code { .. } | Exit::Signal { .. } | Exit::Unstarted | Exit::Unknown => "",
    }
}

/// Says it as `docker ps` does: `Up 2 minutes (healthy)`.
pub(crate) fn status_text(state: &ContainerState, annex: &Annex, now: Timestamp) -> String {
    let ago = |ended: &Ended| words(now.since(ended.finished));
    let up = |started: Timestamp| format!("Up {}", words(now.since(started)));
    match (Status::of(state, annex), state.task(), state.end()) {
        (Status::Paused, Some(task), _) => format!("{} (Paused)", up(task.started)),
        (Status::Running, Some(task), _) => format!("{}{}", up(task.started), annex.health_suffix(state)),
        (Status::Restarting, _, Some(ended)) => format!("Restarting ({}) {} ago", exit_code(&ended.exit), ago(ended)),
        (Status::Exited, _, Some(ended)) => format!("Exited ({}) {} ago", exit_code(&ended.exit), ago(ended)),
        (Status::Restarting, ..) => "Restarting".to_owned(),
        (Status::Removing, ..) => "Removal In Progress".to_owned(),
        (Status::Created | Status::Running | Status::Paused | Status::Exited, ..) => "Created".to_owned(),
    }
}

/// Returns `State` as inspect shows it.
pub(crate) fn shown(state: &ContainerState, annex: &Annex) -> Value {
    let status = Status::of(state, annex);
    let (task, end) = (state.task(), state.end());
    let started = task.map(|task| task.started).or_else(|| end.and_then(|ended| ended.started));
    let never_started = started.is_none() && end.is_none();
    let mut shown = json!({
        "Status": status.word(),
        "Running": status.is_running() && (task.is_some() || status == Status::Restarting),
        "Paused": status == Status::Paused,
        "Restarting": status == Status::Restarting,
        "OOMKilled": end.is_some_and(|ended| oom(&ended.exit)),
        "Dead": false,
        "Pid": task.map_or(0, |task| task.pid),
        "ExitCode": end.map_or(0, |ended| exit_code(&ended.exit)),
        "Error": end.map_or("", |ended| start_error(&ended.exit)),
        "StartedAt": started.map_or_else(|| NEVER.to_owned(), rfc3339),
        "FinishedAt": end.filter(|_| !never_started).map_or_else(|| annex.last_finished(), |ended| rfc3339(ended.finished)),
    });
    if let Some(health) = annex.health_shown(state) {
        shown["Health"] = health;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::container_state::{Checked, Task};

    const SECOND: i64 = 1_000_000_000;

    fn running() -> ContainerState {
        ContainerState::Running(Task { pid: 7, started: Timestamp(10 * SECOND), checked: Checked::default() })
    }

    fn exited(exit: Exit) -> ContainerState {
        let ended = Ended { started: Some(Timestamp(SECOND)), finished: Timestamp(5 * SECOND), exit };
        ContainerState::Exited { ended, checked: Checked::default(), task: None }
    }

    #[test]
    fn lists_say_how_it_is_and_since_when() {
        let annex = Annex::default();
        let text = |state: &ContainerState| status_text(state, &annex, Timestamp(70 * SECOND));
        assert_eq!(text(&running()), "Up About a minute");
        assert_eq!(text(&exited(Exit::Code { code: 3, oom: false })), "Exited (3) About a minute ago");
        assert_eq!(text(&exited(Exit::Signal { signal: 9, oom: true })), "Exited (137) About a minute ago");
        assert_eq!(text(&ContainerState::Created { checked: Checked::default() }), "Created");
    }

    #[test]
    fn what_a_policy_starts_again_is_never_out_of_the_lists() {
        let mut annex = Annex::default();
        let starting =
            ContainerState::Starting { since: Timestamp(1), checked: Checked::default(), stop: None, signal: None };
        assert_eq!(Status::of(&starting, &annex), Status::Created, "no policy does");
        annex.host_config.restart_policy.name = "always".to_owned();
        annex.kept = annex.kept.started();
        let ended = exited(Exit::Code { code: 0, oom: false });
        for state in [ended, starting] {
            assert_eq!(Status::of(&state, &annex), Status::Restarting);
            assert!(status_text(&state, &annex, Timestamp(70 * SECOND)).starts_with("Restarting"));
        }
        annex.kept = annex.kept.stopped();
        assert_eq!(Status::of(&exited(Exit::Code { code: 0, oom: false }), &annex), Status::Exited);
    }

    #[test]
    fn inspect_says_all_of_it() {
        let annex = Annex::default();
        let shown = shown(&exited(Exit::Signal { signal: 9, oom: true }), &annex);
        assert_eq!(
            (&shown["Status"], &shown["ExitCode"], &shown["OOMKilled"]),
            (&json!("exited"), &json!(137), &json!(true))
        );
        assert_eq!(shown["FinishedAt"], "1970-01-01T00:00:05Z");
        let created = super::shown(&ContainerState::Created { checked: Checked::default() }, &annex);
        assert_eq!((&created["StartedAt"], &created["FinishedAt"]), (&json!(NEVER), &json!(NEVER)));
        assert_eq!(super::shown(&running(), &annex)["Pid"], 7);
    }
}
