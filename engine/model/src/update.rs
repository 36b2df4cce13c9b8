//! What becomes of a container's limits when some of them change. Pure.

use crate::container::Resources;

impl Resources {
    /// Returns these limits with those of `change` in place of theirs, one version on when that makes a difference. What
    /// `change` leaves at its default (0, empty) stays as it is. The OOM score belongs to processes, which have it from their
    /// start: it never changes.
    #[must_use]
    pub fn changed_by(&self, change: &Self) -> Self {
        let mut next = self.clone();
        replace(&mut next.cpu_period_us, &change.cpu_period_us);
        replace(&mut next.cpu_quota_us, &change.cpu_quota_us);
        replace(&mut next.cpu_shares, &change.cpu_shares);
        replace(&mut next.memory_bytes_max, &change.memory_bytes_max);
        replace(&mut next.memory_swap_bytes_max, &change.memory_swap_bytes_max);
        replace(&mut next.memory_reservation_bytes, &change.memory_reservation_bytes);
        replace(&mut next.memory_swappiness, &change.memory_swappiness);
        replace(&mut next.cpuset_cpus, &change.cpuset_cpus);
        replace(&mut next.cpuset_mems, &change.cpuset_mems);
        replace(&mut next.pids_max, &change.pids_max);
        next.hugepage_bytes_max.extend(change.hugepage_bytes_max.clone());
        next.unified.extend(change.unified.clone());
        if next != *self {
            next.version += 1;
        }
        next
    }
}

fn replace<T: Clone + Default + PartialEq>(here: &mut T, by: &T) {
    if *by != T::default() {
        here.clone_from(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Resources {
        Resources {
            version: 3,
            cpu_quota_us: 50_000,
            memory_bytes_max: 100,
            hugepage_bytes_max: [("2MB".to_owned(), 4), ("1GB".to_owned(), 1)].into(),
            oom_score_adj: Some(-998),
            ..Resources::default()
        }
    }

    #[test]
    fn what_is_asked_for_changes_and_the_rest_stays() {
        let change = Resources {
            version: 7,
            cpu_quota_us: -1,
            cpuset_cpus: "0-1".to_owned(),
            hugepage_bytes_max: [("2MB".to_owned(), 0)].into(),
            oom_score_adj: Some(5),
            ..Resources::default()
        };
        let expected = Resources {
            version: 4,
            cpu_quota_us: -1,
            cpuset_cpus: "0-1".to_owned(),
            hugepage_bytes_max: [("2MB".to_owned(), 0), ("1GB".to_owned(), 1)].into(),
            ..limits()
        };
        assert_eq!(limits().changed_by(&change), expected);
    }

    #[test]
    fn a_change_that_makes_no_difference_is_no_new_version() {
        assert_eq!(limits().changed_by(&Resources::default()), limits());
        assert_eq!(limits().changed_by(&limits()), limits());
    }
}
