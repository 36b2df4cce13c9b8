//! The mark that names of all that belongs to a test carry, and whether that test still goes on.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the names of all that belongs to a test begin with: folders, cgroups, bridges. `orlop-t<pid>-<n>` is a whole mark.
pub const MARK: &str = "orlop-t";

/// Marks of this process whose test goes on.
static LIVING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes that a test goes on.
pub(crate) fn begin(mark: &str) {
    living().insert(mark.to_owned());
}

/// Notes that a test is over: what carries its mark from now on was left behind.
pub(crate) fn end(mark: &str) {
    living().remove(mark);
}

/// Says whether the test of a mark goes on, in this process or in another one.
pub(crate) fn is_living(mark: &str) -> bool {
    match pid(mark) {
        Some(pid) if pid == std::process::id() => living().contains(mark),
        Some(pid) => Path::new("/proc").join(pid.to_string()).exists(),
        None => false,
    }
}

/// Says whether a mark is of a test of this process, over or not.
pub(crate) fn is_of_this_process(mark: &str) -> bool {
    pid(mark) == Some(std::process::id())
}

/// Returns the whole marks in a text.
pub(crate) fn marks_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(MARK).filter_map(|(at, _)| whole_mark(&text[at..]))
}

/// Returns the mark that a text begins with; the text goes on as it likes.
fn whole_mark(text: &str) -> Option<&str> {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let dash = MARK.len() + digits(MARK.len());
    let number = dash + 1;
    let whole = dash > MARK.len() && text[dash..].starts_with('-') && digits(number) > 0;
    whole.then(|| &text[..number + digits(number)])
}

fn pid(mark: &str) -> Option<u32> {
    mark.strip_prefix(MARK)?.split_once('-')?.0.parse().ok()
}

fn living() -> MutexGuard<'static, BTreeSet<String>> {
    // A test that panicked must still be compared.
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_whole() {
        let text = "orlop-t12-3/run orlop-t12- orlop-t-4 (orlop-t12-34) orlop-tx";
        assert_eq!(marks_in(text).collect::<Vec<_>>(), ["orlop-t12-3", "orlop-t12-34"]);
    }

    #[test]
    fn a_mark_lives_as_long_as_its_test_or_its_process() {
        let mark = format!("{MARK}{}-4000000000", std::process::id());
        begin(&mark);
        assert!(is_living(&mark));
        end(&mark);
        assert!(!is_living(&mark));
        assert!(is_living(&format!("{MARK}1-0")) && !is_living(&format!("{MARK}4194305-0")));
    }
}
