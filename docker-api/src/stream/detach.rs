//! The keys by which a person leaves a terminal without ending what runs in it. Pure.

use crate::http::error::ApiError;

/// Keys in a row at most.
const KEYS_MAX: usize = 16;

/// Keys that detach, and how many of them have come in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    seen: usize,
}

/// What becomes of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It is handed on.
    On(Vec<u8>),
    /// What came before the keys is; then the client leaves.
    Detached(Vec<u8>),
}

impl DetachKeys {
    /// Parses `ctrl-p,ctrl-q`, which is the default too.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let text = if text.is_empty() { "ctrl-p,ctrl-q" } else { text };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        match keys.filter(|keys| keys.len() <= KEYS_MAX) {
            Some(keys) => Ok(Self { keys, seen: 0 }),
            None => Err(ApiError::bad(format!("Invalid detach keys ({text}) provided"))),
        }
    }

    /// Looks for the keys in input. The beginning of them is held back until it is known what follows.
    pub(crate) fn pass(&mut self, input: &[u8]) -> Passed {
        let mut on = Vec::with_capacity(input.len());
        for byte in input {
            if *byte == self.keys[self.seen] {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    self.seen = 0;
                    return Passed::Detached(on);
                }
                continue;
            }
            on.extend_from_slice(&self.keys[..self.seen]);
            self.seen = usize::from(*byte == self.keys[0] && self.keys.len() > 1);
            if self.seen == 0 {
                on.push(*byte);
            }
        }
        Passed::On(on)
    }
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [one] => Some(*one),
        bytes => match bytes.strip_prefix(b"ctrl-")? {
            [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
            b"@" => Some(0),
            b"[" => Some(27),
            b"\\" => Some(28),
            b"]" => Some(29),
            b"^" => Some(30),
            b"_" => Some(31),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_row_detach_and_others_pass() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.pass(b"ab\x10"), Passed::On(b"ab".to_vec()));
        assert_eq!(keys.pass(b"c"), Passed::On(b"\x10c".to_vec()));
        assert_eq!(keys.pass(b"\x10\x10"), Passed::On(b"\x10".to_vec()));
        assert_eq!(keys.pass(b"\x11x"), Passed::Detached(Vec::new()));
        assert_eq!(DetachKeys::parse("a").unwrap().pass(b"xay"), Passed::Detached(b"x".to_vec()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "ctrl-pp"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
        assert!(DetachKeys::parse("ctrl-@,x,ctrl-_").is_ok());
    }
}
