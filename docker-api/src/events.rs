//! What has happened, for who listens and for who asks what happened before.
//!
//! The last events are kept in memory, within a bound.

use crate::http::filters::{Filters, has_label};
use orlop_model::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events kept for `since`.
const KEPT_MAX: usize = 4096;
/// Events that a listener may be behind; one that is further behind goes on from what is kept.
const BEHIND_MAX: usize = 1024;

/// After what something is told that a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// The container was started.
    Started,
    /// It has ended.
    Died,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    /// `container`, `image`, `network`, `daemon`.
    pub(crate) kind: &'static str,
    pub(crate) action: String,
    pub(crate) id: String,
    /// Name, image, labels, exit code.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// All that has happened lately.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<Kept>,
    tell: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    events: VecDeque<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::default(), tell: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody, and remembers.
    pub(crate) fn tell(
        &self,
        at: Timestamp,
        kind: &'static str,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let mut kept = self.lock();
        let event = Event { number: kept.next, at, kind, action: action.into(), id: id.into(), attributes };
        let event = Arc::new(event);
        kept.next += 1;
        if kept.events.len() == KEPT_MAX {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&event));
        // Nobody listens: that is fine. Sent under the lock, so that numbers arrive in order.
        drop(self.tell.send(event));
    }

    /// Returns the events of a time and later that are kept, and a listener for those that come, without a gap.
    pub(crate) fn listen(&self, since: Option<Timestamp>) -> Listener<'_> {
        let kept = self.lock();
        let after = |since: Timestamp| kept.events.iter().filter(move |event| event.at >= since).cloned().collect();
        Listener {
            events: self,
            next: kept.next,
            before: since.map(after).unwrap_or_default(),
            come: self.tell.subscribe(),
        }
    }

    fn kept_since(&self, number: u64) -> VecDeque<Arc<Event>> {
        self.lock().events.iter().filter(|event| event.number >= number).cloned().collect()
    }
}

/// Who listens. One that falls behind goes on from what is kept.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    events: &'a Events,
    next: u64,
    before: VecDeque<Arc<Event>>,
    come: broadcast::Receiver<Arc<Event>>,
}

impl Listener<'_> {
    /// Returns the next event that is there already.
    pub(crate) fn ready(&mut self) -> Option<Arc<Event>> {
        self.before.pop_front()
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> Arc<Event> {
        loop {
            if let Some(event) = self.ready() {
                self.next = self.next.max(event.number + 1);
                return event;
            }
            match self.come.recv().await {
                Ok(event) if event.number >= self.next => {
                    self.next = event.number + 1;
                    return event;
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.before = self.events.kept_since(self.next),
                // The sender lives as long as what is borrowed here.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Filters of events.
pub(crate) const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

impl Event {
    /// Says whether filters let it pass.
    pub(crate) fn fits(&self, filters: &Filters) -> bool {
        let attribute = |name: &str| self.attributes.get(name).cloned();
        let is = |kind: &str, value: &str| {
            self.kind == kind
                && (self.id == value
                    || (self.id.starts_with(value) && !value.is_empty())
                    || attribute("name").as_deref() == Some(value.trim_start_matches('/')))
        };
        // An exec's event is `exec_start: sh`, and asked for as `exec_start`.
        let action = self.action.split(':').next().unwrap_or_default();
        filters.fits("type", |kind| kind == self.kind)
            && filters.fits("event", |wanted| wanted == self.action || wanted == action)
            && filters.fits("container", |value| is("container", value))
            && filters.fits("image", |value| self.is_of_image(value))
            && filters.fits("network", |value| is("network", value))
            && filters.fits("volume", |value| is("volume", value))
            && filters.fits("daemon", |value| is("daemon", value))
            && filters.fits("scope", |scope| scope == "local")
            && filters.fits_all("label", |wanted| has_label(wanted, attribute))
            && ["config", "node", "plugin", "secret", "service"].iter().all(|kind| !filters.asks(kind))
    }

    fn is_of_image(&self, value: &str) -> bool {
        let without_tag = |name: &str| name.rsplit_once(':').map_or(name, |(name, _)| name).to_owned();
        let is = |name: &str| name == value || without_tag(name) == value;
        match self.kind {
            "image" => is(&self.id) || self.attributes.get("name").is_some_and(|name| is(name)),
            _ => self.attributes.get("image").is_some_and(|name| is(name)),
        }
    }

    /// Returns it as clients get it; with the fields that those before 1.22 read.
    pub(crate) fn shown(&self) -> Value {
        let mut event = json!({
            "Type": self.kind,
            "Action": self.action,
            "Actor": { "ID": self.id, "Attributes": self.attributes },
            "scope": "local",
            "time": crate::time::unix(self.at),
            "timeNano": self.at.0,
        });
        if matches!(self.kind, "container" | "image") {
            event["status"] = json!(self.action);
            event["id"] = json!(self.id);
            if let Some(image) = self.attributes.get("image") {
                event["from"] = json!(image);
            }
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::query::Query;

    fn told(events: &Events, at: i64) {
        let attributes =
            BTreeMap::from([("name".to_owned(), "web".to_owned()), ("image".to_owned(), "busybox:1".to_owned())]);
        events.tell(Timestamp(at), "container", "start", "abc", attributes);
    }

    #[tokio::test]
    async fn a_listener_hears_what_is_kept_and_then_what_comes() {
        let events = Events::default();
        for at in 0..5 {
            told(&events, at);
        }
        let mut listener = events.listen(Some(Timestamp(3)));
        told(&events, 5);
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(listener.next().await.at.0);
        }
        assert_eq!(heard, [3, 4, 5]);
    }

    #[tokio::test]
    async fn who_falls_behind_misses_nothing_that_is_kept() {
        let events = Events::default();
        let mut listener = events.listen(None);
        let many = BEHIND_MAX as i64 + 500;
        (0..many).for_each(|at| told(&events, at));
        for at in 0..many {
            assert_eq!(listener.next().await.at.0, at);
        }
    }

    #[test]
    fn filters_choose_events() {
        let events = Events::default();
        told(&events, 0);
        let event = events.listen(Some(Timestamp(0))).ready().unwrap();
        for (filters, fits) in [
            ("{}", true),
            (r#"{"type":["container"]}"#, true),
            (r#"{"type":["image"]}"#, false),
            (r#"{"event":["start","die"]}"#, true),
            (r#"{"event":["die"]}"#, false),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["ab"]}"#, true),
            (r#"{"container":["x"]}"#, false),
            (r#"{"image":["busybox"]}"#, true),
            (r#"{"image":["busybox:2"]}"#, false),
            (r#"{"label":["name=web"]}"#, true),
            (r#"{"node":["x"]}"#, false),
        ] {
            let query = Query::parse(&format!("filters={filters}")).unwrap();
            assert_eq!(event.fits(&Filters::of(&query, FILTERS).unwrap()), fits, "{filters}");
        }
    }
}
