//! What a facade has made of an annex, kept beside it: lists would read hundreds of them anew for each request.

use crate::registry::ContainerView;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// One value of the facade's own for one annex. Goes with the views that hold it, and a new annex begins a new one: so it can't
/// be stale, and needs no bound of its own.
#[derive(Clone, Default)]
pub(crate) struct Reading(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "read" } else { "not read" })
    }
}

impl ContainerView {
    /// Returns what `read` makes of the annex; it is asked only once for each annex of a container.
    pub fn read_annex<T: Any + Send + Sync>(&self, read: impl Fn(&[u8]) -> T) -> Arc<T> {
        let kept = self.reading.0.get_or_init(|| Arc::new(read(&self.asked.annex)));
        // A facade has one type for its annexes; another one's is not kept, but right.
        Arc::clone(kept).downcast().unwrap_or_else(|_| Arc::new(read(&self.asked.annex)))
    }
}
