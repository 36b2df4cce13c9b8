//! Locks that are there as long as somebody holds them, or waits: one for each thing that is to be worked on by one at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One lock for each key. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Locks<K> {
    there: Arc<Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>>,
}

// A derived one would want the key to have a default.
impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self { there: Arc::default() }
    }
}

impl<K: Clone + Eq + Hash> Locks<K> {
    /// Returns the lock of a key, unlocked or not.
    pub(crate) fn of(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        // A panic while it was held left a map that is whole.
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = there.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        there.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        there.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_lock_and_what_nobody_holds_is_forgotten() {
        let locks = Locks::default();
        let (one, other) = (locks.of(&1), locks.of(&2));
        let held = one.try_lock().unwrap();
        assert!(locks.of(&1).try_lock().is_err());
        assert!(other.try_lock().is_ok());
        drop(held);
        drop((one, other));
        assert!(locks.of(&3).try_lock().is_ok());
        assert_eq!(locks.there.lock().unwrap().len(), 1);
    }
}
