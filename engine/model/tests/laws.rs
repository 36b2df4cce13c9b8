//! Laws of the two state machines, over every sequence of events a generator can think of.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_model::container_state::{
    self as container, Checked, ContainerEffect, ContainerEvent, ContainerState, Ended,
};
use orlop_model::container_state::{Exit, Force};
use orlop_model::sandbox_state::{self as sandbox, SandboxEffect, SandboxEvent, SandboxState};
use orlop_model::{ErrorKind, Failure, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

fn failure() -> Failure {
    Failure::new(ErrorKind::Unavailable, "it did not work")
}

fn sandbox_effect() -> impl Strategy<Value = SandboxEffect> {
    use SandboxEffect::*;
    prop::sample::select(vec![RaiseShim, Attach, DropShim, Detach, DropContainers, Forget])
}

fn sandbox_event() -> impl Strategy<Value = SandboxEvent> {
    use SandboxEvent::*;
    prop_oneof![
        Just(ShimRaised),
        Just(Attached(Vec::new())),
        Just(ShimDropped),
        Just(Detached),
        Just(ContainersGone),
        Just(Forgotten),
        sandbox_effect().prop_map(|effect| Failed(effect, failure())),
        Just(StopAsked),
        Just(StartAsked),
        Just(RemoveAsked),
        Just(ContainerCreated),
        Just(ContainerEnded),
        Just(ContainerGone(None)),
        Just(ContainerGone(Some(failure()))),
        Just(ShimGone),
        Just(Interrupted),
        Just(Due),
    ]
}

/// What a driver reports when the effect succeeds.
fn sandbox_success(effect: SandboxEffect) -> SandboxEvent {
    match effect {
        SandboxEffect::RaiseShim => SandboxEvent::ShimRaised,
        SandboxEffect::Attach => SandboxEvent::Attached(Vec::new()),
        SandboxEffect::DropShim => SandboxEvent::ShimDropped,
        SandboxEffect::Detach => SandboxEvent::Detached,
        SandboxEffect::DropContainers => SandboxEvent::ContainersGone,
        SandboxEffect::Forget => SandboxEvent::Forgotten,
    }
}

fn container_effect() -> impl Strategy<Value = ContainerEffect> {
    use ContainerEffect::*;
    let all = vec![PrepareRootfs, Check, Start, AskToEnd, Kill, Freeze, Thaw, DropTask, DropRootfs, Forget];
    prop::sample::select(all)
}

fn ended() -> Ended {
    Ended { started: Some(Timestamp(5)), finished: Timestamp(6), exit: Exit::Code { code: 7, oom: false } }
}

fn container_event() -> impl Strategy<Value = ContainerEvent> {
    use ContainerEvent::*;
    prop_oneof![
        Just(RootfsReady),
        Just(Checked(self::Checked::default())),
        Just(Started { pid: 9, at: Timestamp(5) }),
        Just(Ended(ended())),
        Just(Frozen),
        Just(Thawed),
        Just(TaskDropped),
        Just(RootfsDropped),
        Just(Forgotten),
        container_effect().prop_map(|effect| Failed(effect, failure())),
        Just(StartAsked),
        (0u64..100, any::<bool>())
            .prop_map(|(grace, by)| StopAsked { grace: Duration::from_secs(grace), signal: by.then_some(2) }),
        Just(FreezeAsked),
        Just(ThawAsked),
        Just(RemoveAsked(Force::Yes)),
        Just(RemoveAsked(Force::No)),
        Just(Silent),
        Just(Answered),
        Just(Interrupted),
        Just(Signalled),
        Just(SandboxDown),
        Just(SandboxFailed(failure())),
        Just(Due),
    ]
}

fn container_success(effect: ContainerEffect) -> ContainerEvent {
    match effect {
        ContainerEffect::PrepareRootfs => ContainerEvent::RootfsReady,
        ContainerEffect::Check => ContainerEvent::Checked(Checked::default()),
        ContainerEffect::Start => ContainerEvent::Started { pid: 9, at: Timestamp(5) },
        ContainerEffect::AskToEnd | ContainerEffect::Kill => ContainerEvent::Ended(ended()),
        ContainerEffect::Freeze => ContainerEvent::Frozen,
        ContainerEffect::Thaw => ContainerEvent::Thawed,
        ContainerEffect::DropTask => ContainerEvent::TaskDropped,
        ContainerEffect::DropRootfs => ContainerEvent::RootfsDropped,
        ContainerEffect::Forget => ContainerEvent::Forgotten,
    }
}

/// Steps that lead nowhere, from any state, before a law counts as broken.
const STEPS_MAX: usize = 50;

proptest! {
    #[test]
    fn a_sandbox_can_be_removed_from_everywhere(
        events in prop::collection::vec(sandbox_event(), 0..30),
        alone in any::<bool>(),
    ) {
        let first = (sandbox::begin_alone(Timestamp(1)), None);
        let (mut state, mut owed) = if alone { first } else { sandbox::begin(Timestamp(1)) };
        for event in events {
            if let Ok((next, effect)) = sandbox::step(&state, event, Timestamp(2)) {
                state = next;
                owed = effect.or(owed);
            }
        }
        let (next, effect) = sandbox::step(&state, SandboxEvent::RemoveAsked, Timestamp(3)).unwrap();
        let (mut state, mut owed) = (next, effect.or(owed));
        for _ in 0..STEPS_MAX {
            if matches!(state, SandboxState::Gone { .. }) {
                return Ok(());
            }
            let done = owed.take().map(sandbox_success).unwrap_or(SandboxEvent::Interrupted);
            let (next, effect) = sandbox::step(&state, done, Timestamp(4)).unwrap();
            (state, owed) = (next, effect);
        }
        prop_assert!(false, "stuck in {state:?}, owed {owed:?}");
    }

    /// Doing what is owed twice changes nothing the second time.
    #[test]
    fn a_sandbox_hears_an_outcome_twice_as_once(events in prop::collection::vec(sandbox_event(), 0..30), again in sandbox_event()) {
        let outcome = !matches!(again, SandboxEvent::StopAsked | SandboxEvent::StartAsked | SandboxEvent::RemoveAsked
            | SandboxEvent::Interrupted | SandboxEvent::Due | SandboxEvent::Failed(..));
        prop_assume!(outcome);
        let (mut state, _) = sandbox::begin(Timestamp(1));
        for event in events {
            if let Ok((next, _)) = sandbox::step(&state, event, Timestamp(2)) {
                state = next;
            }
        }
        let (once, _) = sandbox::step(&state, again.clone(), Timestamp(2)).unwrap();
        let (twice, effect) = sandbox::step(&once, again, Timestamp(2)).unwrap();
        prop_assert_eq!(&twice, &once);
        prop_assert_eq!(effect, None);
    }

    /// No effect that builds is owed by a state that takes down.
    #[test]
    fn a_leaving_sandbox_builds_nothing(events in prop::collection::vec(sandbox_event(), 1..30)) {
        let (mut state, _) = sandbox::begin(Timestamp(1));
        for event in events {
            let Ok((next, effect)) = sandbox::step(&state, event, Timestamp(2)) else { continue };
            let builds = matches!(effect, Some(SandboxEffect::RaiseShim | SandboxEffect::Attach));
            let leaves = matches!(next, SandboxState::Stopping { .. } | SandboxState::Removing { .. } | SandboxState::Gone { .. });
            prop_assert!(!(builds && leaves), "{state:?} -> {next:?} owes {effect:?}");
            state = next;
        }
    }

    #[test]
    fn a_container_can_be_removed_from_everywhere(events in prop::collection::vec(container_event(), 0..40)) {
        let (mut state, mut owed) = container::begin(Timestamp(1));
        for event in events {
            if let Ok((next, effect)) = container::step(&state, event, Timestamp(2)) {
                state = next;
                owed = effect.or(owed);
            }
        }
        let (next, effect) = container::step(&state, ContainerEvent::RemoveAsked(Force::Yes), Timestamp(3)).unwrap();
        let (mut state, mut owed) = (next, effect.or(owed));
        for _ in 0..STEPS_MAX {
            if matches!(state, ContainerState::Gone { .. }) {
                return Ok(());
            }
            let done = owed.take().map(container_success).unwrap_or(ContainerEvent::Interrupted);
            let (next, effect) = container::step(&state, done, Timestamp(4)).unwrap();
            (state, owed) = (next, effect);
        }
        prop_assert!(false, "stuck in {state:?}, owed {owed:?}");
    }

    /// An end is never forgotten but by removal or a new start, and never changes.
    #[test]
    fn an_end_is_kept(events in prop::collection::vec(container_event(), 0..40)) {
        let (mut state, _) = container::begin(Timestamp(1));
        for event in events {
            let Ok((next, _)) = container::step(&state, event.clone(), Timestamp(2)) else { continue };
            if let ContainerState::Exited { ended: before, .. } = &state {
                let again = matches!(next, ContainerState::Starting { .. }) && event == ContainerEvent::StartAsked;
                let again = again || matches!(event, ContainerEvent::SandboxFailed(_));
                prop_assert!(again || next.end() == Some(before), "{event:?}: {next:?}");
            }
            state = next;
        }
    }

    /// A stop that is waited for always comes to its end: something is owed, or a time is set.
    #[test]
    fn a_stopping_container_has_a_deadline(events in prop::collection::vec(container_event(), 0..40)) {
        let (mut state, _) = container::begin(Timestamp(1));
        for event in events {
            let Ok((next, _)) = container::step(&state, event, Timestamp(2)) else { continue };
            if matches!(next, ContainerState::Stopping { .. }) {
                prop_assert!(next.due().is_some());
            }
            state = next;
        }
    }
}

#[test]
fn stop_of_a_created_container_ends_it() {
    let created = ContainerState::Created { checked: Checked::default() };
    let (next, effect) =
        container::step(&created, ContainerEvent::StopAsked { grace: Duration::ZERO, signal: None }, Timestamp(9))
            .unwrap();
    let unstarted = Ended { started: None, finished: Timestamp(9), exit: Exit::Unstarted };
    assert_eq!(next, ContainerState::Exited { ended: unstarted, checked: Checked::default(), task: None });
    assert_eq!(effect, None);
}

#[test]
fn failed_creation_is_undone_by_what_removal_does() {
    let (creating, _) = sandbox::begin(Timestamp(1));
    let event = SandboxEvent::Failed(SandboxEffect::RaiseShim, failure());
    let (next, effect) = sandbox::step(&creating, event, Timestamp(2)).unwrap();
    assert!(matches!(next, SandboxState::Removing { why: Some(_), .. }));
    assert_eq!(effect, Some(SandboxEffect::DropShim));
}
