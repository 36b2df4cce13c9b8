//! One-time tokens: what a client was promised over the CRI, for a short while, until it comes over HTTP.

use super::work::{Kind, Work};
use orlop_model::{ErrorKind, Failure};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most tokens that wait to be used. A kubelet uses one at once.
pub(crate) const TOKENS_MAX: usize = 1000;
/// How long a token can be used.
pub(crate) const TOKEN_TIME: Duration = Duration::from_secs(60);
/// Random bytes of a token: nobody guesses one within its time.
const TOKEN_BYTES: usize = 16;

/// Tokens that wait to be used.
#[derive(Default)]
pub(crate) struct Tokens {
    waiting: Mutex<HashMap<String, Promised>>,
}

struct Promised {
    until: Instant,
    work: Work,
}

impl Tokens {
    /// Promises work; returns the token for it.
    pub(crate) fn promise(&self, work: Work, now: Instant) -> Result<String, Failure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= TOKENS_MAX {
            waiting.retain(|_, promised| promised.until > now);
        }
        if waiting.len() >= TOKENS_MAX {
            let message = format!("{TOKENS_MAX} streaming URLs were given out and not used yet; retry later");
            return Err(Failure::new(ErrorKind::Exhausted, message));
        }
        let token = token();
        waiting.insert(token.clone(), Promised { until: now + TOKEN_TIME, work });
        Ok(token)
    }

    /// Takes what was promised for a token, once; `None` for one that was never given, is too old, used, or for other work.
    pub(crate) fn redeem(&self, kind: Kind, token: &str, now: Instant) -> Option<Work> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let promised = waiting.get(token)?;
        if promised.work.kind() != kind {
            return None;
        }
        waiting.remove(token).filter(|promised| promised.until > now).map(|promised| promised.work)
    }
}

fn token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    // getrandom(2) gives up to 256 bytes whole once the pool is ready, and waits until it is.
    getrandom(&mut bytes, GetRandomFlags::empty()).expect("the kernel has random bytes");
    bytes.iter().fold(String::new(), |mut token, byte| {
        write!(token, "{byte:02x}").expect("a string takes everything");
        token
    })
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::super::work::tests::forward_nowhere;
    use super::*;

    #[test]
    fn a_token_is_good_once_for_its_own_work_and_for_a_minute() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let token = tokens.promise(forward_nowhere(), now).unwrap();
        assert_eq!(token.len(), 2 * TOKEN_BYTES);
        assert!(tokens.redeem(Kind::Exec, &token, now).is_none());
        assert!(tokens.redeem(Kind::PortForward, "", now).is_none());
        assert!(tokens.redeem(Kind::PortForward, &token, now).is_some());
        assert!(tokens.redeem(Kind::PortForward, &token, now).is_none());
        let old = tokens.promise(forward_nowhere(), now).unwrap();
        assert!(tokens.redeem(Kind::PortForward, &old, now + TOKEN_TIME).is_none());
    }

    #[test]
    fn tokens_are_bounded_and_old_ones_make_room() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        for _ in 0..TOKENS_MAX {
            tokens.promise(forward_nowhere(), now).unwrap();
        }
        assert_eq!(tokens.promise(forward_nowhere(), now).unwrap_err().kind, ErrorKind::Exhausted);
        tokens.promise(forward_nowhere(), now + TOKEN_TIME).unwrap();
    }
}
