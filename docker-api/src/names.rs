//! Names of containers: unique, kept in each one's annex, and made up where none is given.

use crate::http::error::ApiError;
use orlop_model::ContainerId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest name.
const NAME_BYTES_MAX: usize = 255;
/// Tries to make up a name without a number.
const TRIES: u64 = 8;

/// Who has which name. Its lock is held for look-ups only.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, ContainerId>>);

impl Names {
    /// Enters what exists at the start of the daemon.
    pub(crate) fn of(existing: impl IntoIterator<Item = (String, ContainerId)>) -> Self {
        Self(Mutex::new(existing.into_iter().collect()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ContainerId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container.
    pub(crate) fn take(&self, name: &str, id: &ContainerId) -> Result<(), ApiError> {
        let mut names = self.lock();
        match names.get(name) {
            Some(there) if there != id => Err(taken(name, there)),
            Some(_) | None => {
                names.insert(name.to_owned(), id.clone());
                Ok(())
            }
        }
    }

    /// Makes up a name and takes it.
    pub(crate) fn make_up(&self, id: &ContainerId) -> String {
        let seed = seed(id);
        let mut names = self.lock();
        let made_up = (0..).map(|number| made_up(seed, number));
        let free = made_up.into_iter().find(|name| !names.contains_key(name));
        let name = free.expect("numbers do not end");
        names.insert(name.clone(), id.clone());
        name
    }

    /// Finds who has a name.
    pub(crate) fn find(&self, name: &str) -> Option<ContainerId> {
        self.lock().get(name).cloned()
    }

    /// Gives up a name, unless it is another one's now.
    pub(crate) fn release(&self, name: &str, id: &ContainerId) {
        let mut names = self.lock();
        if names.get(name) == Some(id) {
            names.remove(name);
        }
    }

    /// Gives up every name of a container.
    pub(crate) fn release_all(&self, id: &ContainerId) {
        self.lock().retain(|_, there| there != id);
    }
}

fn taken(name: &str, id: &ContainerId) -> ApiError {
    ApiError::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    ))
}

/// Parses a name that was asked for; a slash in front is no part of it.
pub(crate) fn parse(text: &str) -> Result<String, ApiError> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest: Vec<u8> = bytes.collect();
    let good = first
        && !rest.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if good {
        return Ok(name.to_owned());
    }
    let shown: String = text.chars().take(NAME_BYTES_MAX).collect();
    Err(ApiError::bad(format!("Invalid container name ({shown}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

/// The random part of an id.
fn seed(id: &ContainerId) -> u64 {
    let digits = id.as_str().get(..16).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

/// Returns the made-up name of a seed; a later try changes it, and in the end counts.
fn made_up(seed: u64, number: u64) -> String {
    let mixed = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let pick = |list: &'static [&'static str], from: u64| list[(from % list.len() as u64) as usize];
    let name = format!("{}_{}", pick(QUALITIES, mixed), pick(THINGS, mixed >> 20));
    if number < TRIES { name } else { format!("{name}{}", number - TRIES + 1) }
}

const QUALITIES: &[&str] = &[
    "amber", "ancient", "arctic", "autumn", "azure", "bold", "brave", "brisk", "bronze", "calm", "candid", "careful",
    "cheerful", "clear", "clever", "coastal", "copper", "cosy", "crisp", "curious", "dapper", "daring", "deep",
    "dusty", "eager", "early", "earnest", "easy", "fair", "faithful", "fleet", "fluent", "fond", "frank", "fresh",
    "gentle", "gilded", "glad", "golden", "grand", "green", "hardy", "hearty", "honest", "humble", "idle", "ivory",
    "jolly", "keen", "kind", "late", "lively", "loyal", "lucid", "lunar", "mellow", "merry", "mild", "misty", "modest",
    "neat", "nimble", "noble", "northern", "patient", "plain", "playful", "polar", "polite", "prompt", "proud",
    "quick", "quiet", "rapid", "ready", "robust", "rosy", "rustic", "sandy", "serene", "sharp", "shy", "silent",
    "silver", "simple", "snug", "sober", "solid", "southern", "spry", "steady", "stellar", "stout", "sunny", "swift",
    "tidy", "tranquil", "vivid", "warm", "wise", "witty",
];

const THINGS: &[&str] = &[
    "acorn", "anchor", "anvil", "apple", "arch", "aspen", "badger", "banner", "barge", "basin", "beacon", "beaver",
    "birch", "bison", "bridge", "brook", "cairn", "canal", "candle", "cedar", "clover", "comet", "compass", "condor",
    "coral", "cove", "crane", "creek", "delta", "dolphin", "dune", "eagle", "ember", "falcon", "fern", "ferry",
    "finch", "fjord", "forge", "fox", "galley", "garnet", "glacier", "grove", "gull", "harbour", "hare", "haven",
    "hawk", "hazel", "heron", "hill", "inlet", "island", "ivy", "jetty", "juniper", "kayak", "keel", "kestrel", "kite",
    "lagoon", "lantern", "lark", "ledge", "lichen", "lynx", "maple", "marsh", "meadow", "mesa", "moss", "oak",
    "osprey", "otter", "owl", "pebble", "pier", "pine", "plover", "prairie", "quarry", "quay", "raven", "reef",
    "ridge", "river", "robin", "rudder", "sail", "seal", "shore", "sparrow", "spruce", "stone", "stork", "stream",
    "summit", "swan", "thistle", "tide", "trout", "tundra", "valley", "walrus", "willow", "wren", "yarrow",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ContainerId {
        ContainerId::from_random([number; 32])
    }

    #[test]
    fn a_name_has_one_owner_until_it_is_given_up() {
        let names = Names::default();
        names.take("web", &id(1)).unwrap();
        names.take("web", &id(1)).unwrap();
        let refused = names.take("web", &id(2)).unwrap_err();
        assert!(
            refused
                .message()
                .starts_with("Conflict. The container name \"/web\" is already in use by container \"0101")
        );
        names.release("web", &id(2));
        assert_eq!(names.find("web"), Some(id(1)));
        names.release("web", &id(1));
        names.take("web", &id(2)).unwrap();
    }

    #[test]
    fn made_up_names_are_good_names_and_never_twice_the_same() {
        let names = Names::default();
        // One seed, so that all the tries collide.
        let mut bytes = [7; 32];
        for number in 0..=50 {
            bytes[31] = number;
            let name = names.make_up(&ContainerId::from_random(bytes));
            assert_eq!(parse(&name).unwrap(), name);
        }
        assert_eq!(names.lock().len(), 51);
    }

    #[test]
    fn bad_names_are_refused_in_the_words_clients_know() {
        for good in ["ab", "/web", "a.b-c_d", "0a"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "_a", "a b", "a/b", "é1", &"a".repeat(300)] {
            let refused = parse(bad).unwrap_err();
            assert!(refused.message().starts_with("Invalid container name ("), "{bad}");
        }
    }
}
