//! `docs/state-machine.md` says what `step` says: every state and event, asked of `step` itself.
//!
//! `ORLOP_BLESS=1 cargo test -p orlop-model --test state_machine` writes the page anew; the diff is reviewed as code.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_model::container_state::{
    self as container, Checked, ContainerEffect, ContainerEvent, ContainerState, Ended, Exit, Force, Preparing,
    Removal, Stopping, Task,
};
use orlop_model::sandbox_state::{self as sandbox, Raising, SandboxEffect, SandboxEvent, SandboxState};
use orlop_model::{ErrorKind, Failure, Timestamp};
use std::fmt::{Debug, Write};
use std::time::Duration;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machine.md");

const HEAD: &str = "\
# The two state machines

Written by a test that asks `step` (engine/model) for every state and event: don't edit it, run
`ORLOP_BLESS=1 cargo test -p orlop-model --test state_machine`. The drawings are above the types, in
`engine/model/src/sandbox_state.rs` and `container_state.rs`.

A row: in this state, this event leads to that state, and this effect is owed. What changes nothing is gathered in the line
below each table (quiet: late, repeated, or about something no longer owed), and so is what is refused. `Failed(effect)` is
listed for the effects that a state may owe; of any other it is quiet. A state that waits for a time has it in itself; `Due`
comes then.
";

/// When the events come: after every deadline below.
const NOW: Timestamp = Timestamp(1_000);

fn failure() -> Failure {
    Failure::new(ErrorKind::Unavailable, "it did not work")
}

// === sandboxes ===

fn sandbox_states() -> Vec<(&'static str, SandboxState)> {
    use sandbox::{Leave, Leaving};
    let leave = |stage| Leave { stage, failures: 0, retry_at: None };
    let since = Timestamp(1);
    let stopping = |stage| SandboxState::Stopping { leave: leave(stage), why: None };
    let removing = |stage| SandboxState::Removing { leave: leave(stage), why: None };
    vec![
        ("Creating: shim", SandboxState::Creating { since, stage: Raising::Shim }),
        ("Creating: network", SandboxState::Creating { since, stage: Raising::Network }),
        ("Creating: container", SandboxState::Creating { since, stage: Raising::Container }),
        ("Ready", SandboxState::Ready { since, attachments: Vec::new() }),
        ("Stopping: shim", stopping(Leaving::Shim)),
        ("Stopping: network", stopping(Leaving::Network)),
        ("NotReady", SandboxState::NotReady { since, why: None }),
        ("Starting: shim", SandboxState::Starting { since, stage: Raising::Shim }),
        ("Starting: network", SandboxState::Starting { since, stage: Raising::Network }),
        ("Removing: shim", removing(Leaving::Shim)),
        ("Removing: network", removing(Leaving::Network)),
        ("Removing: containers", removing(Leaving::Containers)),
        ("Removing: record", removing(Leaving::Record)),
        ("Gone", SandboxState::Gone { why: None }),
    ]
}

fn sandbox_name(state: &SandboxState) -> String {
    use sandbox::Leave;
    let pause = |leave: &Leave| if leave.retry_at.is_some() { ", to be tried again" } else { "" };
    match state {
        SandboxState::Creating { stage, .. } => format!("Creating: {}", lower(stage)),
        SandboxState::Ready { .. } => "Ready".to_owned(),
        SandboxState::Stopping { leave, why } => {
            format!("Stopping: {}{}{}", lower(&leave.stage), pause(leave), reason(why.as_ref()))
        }
        SandboxState::NotReady { why, .. } => format!("NotReady{}", reason(why.as_ref())),
        SandboxState::Starting { stage, .. } => format!("Starting: {}", lower(stage)),
        SandboxState::Removing { leave, why } => {
            format!("Removing: {}{}{}", lower(&leave.stage), pause(leave), reason(why.as_ref()))
        }
        SandboxState::Gone { .. } => "Gone".to_owned(),
    }
}

fn sandbox_events() -> Vec<(String, SandboxEvent)> {
    use {SandboxEffect as Do, SandboxEvent as E};
    let mut events: Vec<_> = [
        E::ShimRaised,
        E::Attached(Vec::new()),
        E::ShimDropped,
        E::Detached,
        E::ContainersGone,
        E::Forgotten,
        E::StopAsked,
        E::StartAsked,
        E::RemoveAsked,
        E::ContainerCreated,
        E::ContainerEnded,
        E::ContainerGone(None),
        E::ShimGone,
        E::Interrupted,
        E::Due,
    ]
    .into_iter()
    .map(|event| (first_word(&event), event))
    .collect();
    let effects = [Do::RaiseShim, Do::Attach, Do::DropShim, Do::Detach, Do::DropContainers, Do::Forget];
    events.extend(effects.map(|effect| (format!("Failed({effect:?})"), E::Failed(effect, failure()))));
    events
}

// === containers ===

fn task() -> Task {
    Task { pid: 7, started: Timestamp(3), checked: Checked::default() }
}

fn ended() -> Ended {
    Ended { started: Some(Timestamp(3)), finished: Timestamp(4), exit: Exit::Code { code: 7, oom: false } }
}

fn container_states() -> Vec<(&'static str, ContainerState)> {
    use container::{Leave, Leaving};
    let since = Timestamp(1);
    let checked = Checked::default;
    let leave = |stage| Leave { stage, failures: 0, retry_at: None };
    let stopping =
        |how, deadline| ContainerState::Stopping { task: task(), deadline, how, ask_again: None, signal: None };
    let removing = |stage| {
        let removal = Removal { leave: leave(stage), why: None, last: None, checked: Some(checked()) };
        ContainerState::Removing(removal)
    };
    let exited = |task| ContainerState::Exited { ended: ended(), checked: checked(), task };
    let (later, over) = (Timestamp(5_000), Timestamp(500));
    vec![
        ("Creating: rootfs", ContainerState::Creating { since, stage: Preparing::Rootfs }),
        ("Creating: check", ContainerState::Creating { since, stage: Preparing::Check }),
        ("Created", ContainerState::Created { checked: checked() }),
        ("Starting", ContainerState::Starting { since, checked: checked(), stop: None, signal: None }),
        (
            "Starting, to be stopped",
            ContainerState::Starting { since, checked: checked(), stop: Some(Duration::from_secs(1)), signal: None },
        ),
        ("Running", ContainerState::Running(task())),
        ("Frozen", ContainerState::Frozen(task())),
        ("Stopping: thawing", stopping(Stopping::Thawing, later)),
        ("Stopping: asked", stopping(Stopping::Asked, later)),
        ("Stopping: asked, grace over", stopping(Stopping::Asked, over)),
        ("Stopping: killed", stopping(Stopping::Killed, over)),
        ("Lost", ContainerState::Lost(task())),
        ("Exited, task not dropped", exited(Some(leave(Leaving::Task)))),
        ("Exited", exited(None)),
        ("Removing: task", removing(Leaving::Task)),
        ("Removing: rootfs", removing(Leaving::Rootfs)),
        ("Removing: record", removing(Leaving::Record)),
        ("Gone", ContainerState::Gone { why: None }),
    ]
}

fn container_name(state: &ContainerState) -> String {
    match state {
        ContainerState::Creating { stage, .. } => format!("Creating: {}", lower(stage)),
        ContainerState::Created { .. } => "Created".to_owned(),
        ContainerState::Starting { stop: None, .. } => "Starting".to_owned(),
        ContainerState::Starting { stop: Some(_), .. } => "Starting, to be stopped".to_owned(),
        ContainerState::Running(_) => "Running".to_owned(),
        ContainerState::Frozen(_) => "Frozen".to_owned(),
        ContainerState::Stopping { how, ask_again: None, signal: None, .. } => format!("Stopping: {}", lower(how)),
        ContainerState::Stopping { how, ask_again: None, signal: Some(_), .. } => {
            format!("Stopping: {}, by the signal named", lower(how))
        }
        ContainerState::Stopping { how, ask_again: Some(_), .. } => {
            format!("Stopping: {}, to be sent again", lower(how))
        }
        ContainerState::Lost(_) => "Lost".to_owned(),
        ContainerState::Exited { ended, task, .. } => {
            let how = match &ended.exit {
                Exit::Code { .. } | Exit::Signal { .. } => "",
                Exit::NeverStarted { .. } => " (never started)",
                Exit::Unstarted => " (unstarted)",
                Exit::Unknown => " (unknown)",
            };
            let task = match task {
                None => "",
                Some(leave) if leave.retry_at.is_some() => ", task not dropped, to be tried again",
                Some(_) => ", task not dropped",
            };
            format!("Exited{how}{task}")
        }
        ContainerState::Removing(removal) => {
            let pause = if removal.leave.retry_at.is_some() { ", to be tried again" } else { "" };
            let last = if removal.last.is_some() { ", end known" } else { "" };
            format!("Removing: {}{pause}{last}{}", lower(&removal.leave.stage), reason(removal.why.as_ref()))
        }
        ContainerState::Gone { .. } => "Gone".to_owned(),
    }
}

fn container_events() -> Vec<(String, ContainerEvent)> {
    use {ContainerEffect as Do, ContainerEvent as E};
    let mut events: Vec<_> = [
        E::RootfsReady,
        E::Checked(Checked::default()),
        E::Started { pid: 7, at: Timestamp(3) },
        E::Ended(ended()),
        E::Signalled,
        E::Frozen,
        E::Thawed,
        E::TaskDropped,
        E::RootfsDropped,
        E::Forgotten,
        E::StartAsked,
        E::FreezeAsked,
        E::ThawAsked,
        E::Silent,
        E::Answered,
        E::SandboxFailed(failure()),
        E::SandboxDown,
        E::Interrupted,
        E::Due,
    ]
    .into_iter()
    .map(|event| (first_word(&event), event))
    .collect();
    let grace = |seconds| E::StopAsked { grace: Duration::from_secs(seconds), signal: None };
    events.extend([
        ("StopAsked".to_owned(), grace(10)),
        ("StopAsked, no grace".to_owned(), grace(0)),
        ("StopAsked, by a signal".to_owned(), E::StopAsked { grace: Duration::from_secs(10), signal: Some(2) }),
        ("RemoveAsked".to_owned(), E::RemoveAsked(Force::No)),
        ("RemoveAsked, by force".to_owned(), E::RemoveAsked(Force::Yes)),
    ]);
    let effects = [
        Do::PrepareRootfs,
        Do::Check,
        Do::Start,
        Do::AskToEnd,
        Do::Kill,
        Do::Freeze,
        Do::Thaw,
        Do::DropTask,
        Do::DropRootfs,
        Do::Forget,
    ];
    events.extend(effects.map(|effect| (format!("Failed({effect:?})"), E::Failed(effect, failure()))));
    events
}

// === the page ===

fn lower(stage: &impl Debug) -> String {
    format!("{stage:?}").to_lowercase()
}

fn reason(why: Option<&Failure>) -> &'static str {
    if why.is_some() { ", with a reason" } else { "" }
}

/// Returns the name of a variant.
fn first_word(value: &impl Debug) -> String {
    format!("{value:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

/// What became of one event: the next state and the effect owed, nothing, or a refusal.
enum Row {
    To(String, String),
    Quiet,
    Refused(String),
}

fn table(page: &mut String, state: &str, rows: impl Iterator<Item = (String, Row)>) {
    let (mut told, mut quiet, mut refused) = (String::new(), Vec::new(), Vec::new());
    for (event, row) in rows {
        match row {
            Row::To(next, effect) => writeln!(told, "| {event} | {next} | {effect} |").unwrap(),
            Row::Quiet if event.starts_with("Failed") => {}
            Row::Quiet => quiet.push(event),
            Row::Refused(why) => refused.push(format!("{event} ({why})")),
        }
    }
    writeln!(page, "\n### {state}").unwrap();
    if !told.is_empty() {
        write!(page, "| event | state | effect |\n|---|---|---|\n{told}").unwrap();
    }
    if !refused.is_empty() {
        writeln!(page, "\nRefused: {}.", refused.join(", ")).unwrap();
    }
    if !quiet.is_empty() {
        writeln!(page, "\nQuiet: {}.", quiet.join(", ")).unwrap();
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Sandboxes\n");
    for (name, state) in sandbox_states() {
        let rows = sandbox_events().into_iter().map(|(event, what)| {
            let row = match sandbox::step(&state, what, NOW) {
                Err(refused) => Row::Refused(first_word(&refused)),
                Ok((next, None)) if next == state => Row::Quiet,
                Ok((next, effect)) => {
                    Row::To(sandbox_name(&next), effect.map(|e| format!("{e:?}")).unwrap_or_default())
                }
            };
            (event, row)
        });
        table(&mut page, name, rows);
    }
    page.push_str("\n## Containers\n");
    for (name, state) in container_states() {
        let rows = container_events().into_iter().map(|(event, what)| {
            let row = match container::step(&state, what, NOW) {
                Err(refused) => Row::Refused(first_word(&refused)),
                Ok((next, None)) if next == state => Row::Quiet,
                Ok((next, effect)) => {
                    Row::To(container_name(&next), effect.map(|e| format!("{e:?}")).unwrap_or_default())
                }
            };
            (event, row)
        });
        table(&mut page, name, rows);
    }
    page
}

#[test]
fn the_page_says_what_step_says() {
    let now = page();
    if std::env::var_os("ORLOP_BLESS").is_some() {
        std::fs::write(PATH, &now).unwrap();
    }
    let there = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(now == there, "docs/state-machine.md is stale: bless it with ORLOP_BLESS=1, and review the diff");
}
