//! Volumes.

pub(super) mod create;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod prune;
pub(super) mod remove;

use crate::app::App;
use crate::volumes::Volume;
use std::collections::BTreeMap;

/// Tells what was done to a volume.
pub(crate) fn tell_of(app: &App, volume: &Volume, action: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), crate::volumes::LOCAL.to_owned())]);
    app.events.tell(crate::time::now(), "volume", action, volume.name.clone(), attributes);
}
