//! What the engine says has changed, told as events; and what goes with a container that is gone.

use crate::annex::Annex;
use crate::app::App;
use crate::events::Trigger;
use crate::view::state::{exit_code, oom};
use orlop_model::container_state::ContainerState;
use orlop_model::{ContainerId, Timestamp};
use orlop_usecases::{Change, Changes, ContainerView, News};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Relays every change, for as long as the engine lives.
pub(crate) async fn relay(app: Arc<App>, mut changes: Changes) {
    while let Some(news) = changes.next().await {
        match news {
            News::Change(change) => tell(&app, &change),
            News::Missed(missed) => {
                tracing::warn!(missed, "changes of containers came too fast; events of them are lost");
                app.forget_gone();
            }
        }
    }
}

fn tell(app: &App, change: &Change) {
    let Some(view) = change.new.as_ref().or(change.old.as_ref()) else { return };
    let mut attributes = attributes(view);
    let tell = |action: &str, attributes: &BTreeMap<String, String>| {
        app.events.tell(change.at, "container", action, change.id.as_str(), attributes.clone());
    };
    match (change.old.as_deref(), change.new.as_deref()) {
        (None, Some(_)) => tell("create", &attributes),
        (Some(_), None) => {
            app.release(&change.id);
            tell("destroy", &attributes);
            app.forget(&change.id);
        }
        (Some(old), Some(new)) => match step(&old.state, &new.state) {
            Step::Started => {
                tell("start", &attributes);
                then(app, &change.id, Trigger::Started, change.at, &attributes);
            }
            Step::Paused => tell("pause", &attributes),
            Step::Unpaused => tell("unpause", &attributes),
            Step::Died => {
                if let Some(ended) = new.state.end() {
                    if oom(&ended.exit) {
                        tell("oom", &attributes);
                    }
                    let with_code = attributes.clone();
                    attributes.insert("exitCode".to_owned(), exit_code(&ended.exit).to_string());
                    let ran = ended.started.map_or(0, |started| ended.finished.since(started).as_secs());
                    attributes.insert("execDuration".to_owned(), ran.to_string());
                    tell("die", &attributes);
                    attributes = with_code;
                }
                then(app, &change.id, Trigger::Died, change.at, &attributes);
            }
            Step::Nothing => tell_of_health(app, change, old, new, &attributes),
        },
        (None, None) => {}
    }
}

/// Tells that what policies saw of its health has changed.
fn tell_of_health(
    app: &App,
    change: &Change,
    old: &ContainerView,
    new: &ContainerView,
    attributes: &BTreeMap<String, String>,
) {
    let (before, after) = (Annex::read(old), Annex::read(new));
    let word = after.health_word(&new.state);
    if matches!(word, "healthy" | "unhealthy") && word != before.health_word(&old.state) {
        let action = format!("health_status: {word}");
        app.events.tell(change.at, "container", action, change.id.as_str(), attributes.clone());
    }
}

/// Tells what was to be told after that.
fn then(app: &App, id: &ContainerId, trigger: Trigger, at: Timestamp, attributes: &BTreeMap<String, String>) {
    for action in app.due(id, trigger) {
        app.events.tell(at, "container", action, id.as_str(), attributes.clone());
    }
}

/// What happened between two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Started,
    Paused,
    Unpaused,
    Died,
    Nothing,
}

fn step(old: &ContainerState, new: &ContainerState) -> Step {
    use ContainerState as S;
    let ended = |state: &S| matches!(state, S::Exited { .. } | S::Removing(_));
    match (old, new) {
        (S::Starting { .. } | S::Created { .. } | S::Exited { .. }, S::Running(_)) => Step::Started,
        (S::Running(_), S::Frozen(_)) => Step::Paused,
        (S::Frozen(_), S::Running(_) | S::Stopping { .. }) => Step::Unpaused,
        (old, new) if (old.task().is_some() || matches!(old, S::Starting { .. })) && ended(new) => Step::Died,
        _ => Step::Nothing,
    }
}

/// Returns what events say of a container: its labels, its image and its name.
pub(crate) fn attributes(view: &ContainerView) -> BTreeMap<String, String> {
    let annex = Annex::read(view);
    let mut attributes = annex.config.labels.clone().unwrap_or_default();
    attributes.insert("image".to_owned(), annex.config.image.clone());
    attributes.insert("name".to_owned(), annex.name.clone());
    attributes
}
