//! Compiled filters, kept.

use super::{BadProfile, Filter, compile};
use crate::oci::LinuxSeccomp;
use std::sync::{Arc, Mutex, PoisonError};

/// Filters kept. A node uses the default in a few variants (by capabilities) and some profiles of its own.
const KEPT_MAX: usize = 32;

/// Compiled filters by profile, most recently used last.
#[derive(Debug, Default)]
pub struct Cache {
    kept: Mutex<Vec<(LinuxSeccomp, Arc<Filter>)>>,
}

impl Cache {
    /// Returns the filter of a profile, compiled now or before.
    pub fn get(&self, profile: &LinuxSeccomp) -> Result<Arc<Filter>, BadProfile> {
        if let Some(found) = self.find(profile) {
            return Ok(found);
        }
        // Not under the lock: two callers may compile the same once each, and nobody waits.
        let filter = Arc::new(compile(profile)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push((profile.clone(), Arc::clone(&filter)));
        Ok(filter)
    }

    fn find(&self, profile: &LinuxSeccomp) -> Option<Arc<Filter>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == profile)?;
        let entry = kept.remove(at);
        let filter = Arc::clone(&entry.1);
        kept.push(entry);
        Some(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_is_compiled_once_and_the_number_kept_is_bounded() {
        let profile = |errno| LinuxSeccomp {
            default_action: "SCMP_ACT_ERRNO".into(),
            default_errno_ret: Some(errno),
            ..LinuxSeccomp::default()
        };
        let cache = Cache::default();
        let first = cache.get(&profile(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get(&profile(1)).unwrap()));
        for errno in 2..100 {
            cache.get(&profile(errno)).unwrap();
        }
        assert_eq!(cache.kept.lock().unwrap().len(), KEPT_MAX);
        assert!(!Arc::ptr_eq(&first, &cache.get(&profile(1)).unwrap()));
    }
}
