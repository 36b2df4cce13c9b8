//! The tokens got so far. Those who want the same one wait for one answer.

use crate::clients::Clients;
use crate::error::Error;
use crate::session::Fault;
use crate::token::{Ask, Key, Token};
use http::header::HeaderValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Tokens kept. One is good for one repository; a node pulls from some dozen within a token's life.
const TOKENS_MAX: usize = 256;

/// Where one token is, or will be. Locked while it is asked for.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// All of them.
pub(crate) struct Tokens {
    clients: Arc<Clients>,
    kept: Mutex<HashMap<Key, Kept>>,
}

struct Kept {
    slot: Slot,
    used: Instant,
}

/// A token to be sent.
pub(crate) struct Given {
    pub(crate) header: HeaderValue,
    /// Nothing better can be had by asking again.
    pub(crate) fresh: bool,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(clients: Arc<Clients>) -> Self {
        Self { clients, kept: Mutex::default() }
    }

    /// Returns a token, other than the one that was `refused`. `what` is what it is for, in messages.
    pub(crate) async fn get(&self, ask: &Ask, refused: Option<&HeaderValue>, what: &str) -> Result<Given, Fault> {
        let slot = self.slot(ask.key());
        let mut place = slot.lock().await;
        if let Some(token) = &*place
            && token.is_good(Instant::now())
            && Some(&token.header) != refused
        {
            // Another request has replaced the refused one already.
            return Ok(Given { header: token.header.clone(), fresh: refused.is_some() });
        }
        *place = None;
        let client = self.client(ask).await?;
        let token = ask.fetch(&client, what).await?;
        let header = token.header.clone();
        *place = Some(token);
        Ok(Given { header, fresh: true })
    }

    fn slot(&self, key: Key) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= TOKENS_MAX && !kept.contains_key(&key) {
            // Whoever holds its slot goes on with it; it is only found by nobody else.
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            oldest.map(|key| kept.remove(&key));
        }
        let found = kept.entry(key).or_insert_with(|| Kept { slot: Slot::default(), used: Instant::now() });
        found.used = Instant::now();
        Arc::clone(&found.slot)
    }

    async fn client(&self, ask: &Ask) -> Result<reqwest::Client, Error> {
        let (clients, realm, authorities) =
            (Arc::clone(&self.clients), ask.realm().clone(), ask.authorities().to_vec());
        let made = tokio::task::spawn_blocking(move || clients.get(&realm, &authorities)).await;
        made.map_err(|error| Error::io("make a client for a token server")(std::io::Error::other(error)))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::Bearer;
    use crate::hosts;
    use orlop_model::image::Credentials;
    use orlop_model::reference::Reference;

    fn key(host: &str, realm: &str, service: Option<&str>, scope: &str, credentials: Credentials) -> Key {
        let reference = Reference::parse(&format!("{host}/x")).unwrap();
        let server = hosts::endpoints(None, &reference).unwrap().remove(0);
        let challenge = Bearer { realm: Some(realm.to_owned()), service: service.map(str::to_owned) };
        Ask::new(&server, &challenge, scope, &credentials).unwrap().key()
    }

    #[tokio::test]
    async fn token_is_shared_by_none_who_differ_in_anything() {
        let identity = || Credentials::IdentityToken("a".to_owned());
        let keys = [
            key("a.example", "https://r.example/", None, "s", Credentials::Anonymous),
            key("b.example", "https://r.example/", None, "s", Credentials::Anonymous),
            key("a.example", "https://other.example/", None, "s", Credentials::Anonymous),
            key("a.example", "https://r.example/", Some(""), "s", Credentials::Anonymous),
            key("a.example", "https://r.example/", None, "t", Credentials::Anonymous),
            key("a.example", "https://r.example/", None, "s", identity()),
        ];
        let tokens = Tokens::new(Arc::default());
        let slots: Vec<_> = keys.iter().map(|key| tokens.slot(key.clone())).collect();
        for (i, a) in slots.iter().enumerate() {
            assert!(Arc::ptr_eq(a, &tokens.slot(keys[i].clone())));
            assert!(slots[..i].iter().all(|b| !Arc::ptr_eq(a, b)), "{i}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn longest_unused_token_makes_place_for_a_new_one() {
        let tokens = Tokens::new(Arc::default());
        let key = |n: usize| key("a.example", "https://r.example/", None, &n.to_string(), Credentials::Anonymous);
        let mut slots = Vec::new();
        for n in 0..TOKENS_MAX {
            slots.push(tokens.slot(key(n)));
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        assert!(Arc::ptr_eq(&slots[0], &tokens.slot(key(0))), "used again, so the second is the oldest now");
        let _ = tokens.slot(key(TOKENS_MAX));
        assert_eq!(tokens.kept.lock().unwrap().len(), TOKENS_MAX);
        assert!(Arc::ptr_eq(&slots[0], &tokens.slot(key(0))));
        assert!(!Arc::ptr_eq(&slots[1], &tokens.slot(key(1))));
    }
}
