//! One token from one token server: where it may be asked for, how, and what of the answer is believed.
//!
//! distribution-spec's token authentication ("Token Authentication Specification"), and for identity tokens the refresh
//! grant of OAuth 2 (RFC 6749, section 6).

use crate::challenge::Bearer;
use crate::credentials::{self, Fingerprint, fingerprint};
use crate::error::Error;
use crate::hosts;
use crate::session::{self, Again, Fault};
use http::StatusCode;
use http::header::HeaderValue;
use orlop_model::image::Credentials;
use reqwest::{Response, Url};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// The whole time for a token: a server that sends its answer byte by byte is cut off.
const ASK_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes of a token answer; twice the largest token, which can be in it under both names, and what is beside them.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest token: what usual servers allow for all headers of a request.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How long a token is good at least, whatever its server says, and when it says nothing; the specification's own number.
const LIFETIME_MIN: Duration = Duration::from_secs(60);

/// And at most: who lost the right to pull should not keep a token for days.
const LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

/// A token is not used in the last part of its life: the request has to arrive, and clocks differ.
const MARGIN: Duration = Duration::from_secs(5);

/// What this client is called where a token server wants a name.
const CLIENT_ID: &str = "orlop";

/// All that a token depends on.
pub(crate) struct Ask {
    /// The server that asked for a token and is the only one to get it.
    server: Url,
    realm: Url,
    service: Option<String>,
    scope: String,
    credentials: Credentials,
    /// Certificates (PEM) trusted beside the system's; the server's own, since it vouches for the realm.
    authorities: Vec<Vec<u8>>,
}

/// The same in a form that holds no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    server: String,
    realm: String,
    service: Option<String>,
    scope: String,
    credentials: Fingerprint,
}

/// A token, ready to be sent.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    until: Instant,
}

/// What token servers answer, as far as it is used. `access_token` is OAuth's name, `token` the older one.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds. Not always a number, so it is looked at later.
    expires_in: Option<serde_json::Value>,
}

// === impl Ask ===

impl Ask {
    /// Makes an ask of a challenge. Refuses realms that must not be told anything.
    pub(crate) fn new(
        server: &hosts::Endpoint,
        challenge: &Bearer,
        scope: &str,
        credentials: &Credentials,
    ) -> Result<Self, String> {
        Ok(Self {
            server: server.url.clone(),
            realm: checked_realm(challenge.realm.as_deref(), &server.url)?,
            service: challenge.service.clone(),
            scope: scope.to_owned(),
            credentials: credentials.clone(),
            authorities: server.authorities.clone(),
        })
    }

    pub(crate) fn key(&self) -> Key {
        Key {
            server: self.server.to_string(),
            realm: self.realm.to_string(),
            service: self.service.clone(),
            scope: self.scope.clone(),
            credentials: fingerprint(&self.credentials),
        }
    }

    pub(crate) fn realm(&self) -> &Url {
        &self.realm
    }

    pub(crate) fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    /// Asks the token server. `what` is what the token is for, in messages.
    pub(crate) async fn fetch(&self, client: &reqwest::Client, what: &str) -> Result<Token, Fault> {
        let asked = tokio::time::timeout(ASK_TIME_MAX, self.fetch_unbounded(client, what)).await;
        asked.unwrap_or_else(|_| {
            let why = format!("it does not finish its answer in {} s", ASK_TIME_MAX.as_secs());
            Err(Fault { error: self.failed(what, &why), again: Again::Yes })
        })
    }

    async fn fetch_unbounded(&self, client: &reqwest::Client, what: &str) -> Result<Token, Fault> {
        // Before the answer: a life that is counted too early only ends too early.
        let asked = Instant::now();
        let unreachable = |error| Fault { error: self.failed(what, &session::chain(error)), again: Again::Yes };
        let mut answer = self.request(client).send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(self.refusal(answer, what).await);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let why = format!("its answer has more than the {ANSWER_BYTES_MAX} bytes allowed");
                return Err(self.failed(what, &why).into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Token::parse(&bytes, asked).map_err(|why| self.failed(what, why).into())
    }

    fn request(&self, client: &reqwest::Client) -> reqwest::RequestBuilder {
        let get = || {
            let mut url = self.realm.clone();
            // Beside what the realm's own query says, which some registries need.
            let mut query = url.query_pairs_mut();
            query.extend_pairs(self.service.iter().map(|service| ("service", service)));
            query.append_pair("scope", &self.scope);
            drop(query);
            client.get(url)
        };
        match &self.credentials {
            Credentials::Basic { username, password } => get().basic_auth(username, Some(password)),
            Credentials::IdentityToken(token) => {
                let mut form =
                    vec![("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT_ID)];
                form.extend(self.service.iter().map(|service| ("service", service.as_str())));
                form.push(("scope", &self.scope));
                client.post(self.realm.clone()).form(&form)
            }
            // A registry token is what a token server gives, not what it takes.
            Credentials::Anonymous | Credentials::RegistryToken(_) => get(),
        }
    }

    async fn refusal(&self, answer: Response, what: &str) -> Fault {
        let (status, again) = (answer.status(), session::again(&answer));
        if status.is_redirection() {
            // Not followed: the registry has named this server, not the next one.
            return self.failed(what, "it redirects, which a token server must not; ask who runs the registry").into();
        }
        let said = session::said(answer, &self.credentials).await;
        let by_identity = matches!(self.credentials, Credentials::IdentityToken(_));
        let denied = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
            // OAuth's way to say that a refresh token is no good, RFC 6749, section 5.2, and a server without that grant.
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => by_identity,
            _ => false,
        };
        if !denied {
            return Fault { error: self.failed(what, &format!("it answers {status}{said}")), again };
        }
        let advice = match &self.credentials {
            Credentials::Anonymous => "give a name and password for this registry",
            Credentials::Basic { .. } => "check both, or give a new password",
            Credentials::IdentityToken(_) => "log in again, or give a name and password",
            Credentials::RegistryToken(_) => "give a new one",
        };
        let (host, name) = (session::authority(&self.realm), credentials::name(&self.credentials));
        let why = format!("its token server {host} does not accept {name} (it answers {status}{said}); {advice}");
        Error::Denied { host: session::authority(&self.server), what: what.to_owned(), why }.into()
    }

    fn failed(&self, what: &str, why: &str) -> Error {
        Error::Registry {
            host: session::authority(&self.server),
            what: what.to_owned(),
            why: format!("it wants a token of {}: {why}", session::authority(&self.realm)),
        }
    }
}

/// Returns where a token may be asked for.
fn checked_realm(realm: Option<&str>, server: &Url) -> Result<Url, String> {
    let bad = |why: &str| format!("it asks for a token of a token server that can't be used: {why}");
    let realm = realm.ok_or_else(|| bad("it names none"))?;
    // What came is not repeated before it is known to be a URL without secrets in it.
    let url = Url::parse(realm).map_err(|_| bad("its realm is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(bad("its realm has a name, password or fragment in it"));
    }
    hosts::may_lead_to(server, &url).map_err(|why| bad(&format!("{}: {why}", session::authority(&url))))?;
    Ok(url)
}

// === impl Token ===

impl Token {
    /// Returns whether it can still be sent.
    pub(crate) fn is_good(&self, now: Instant) -> bool {
        now + MARGIN < self.until
    }

    fn parse(bytes: &[u8], asked: Instant) -> Result<Self, &'static str> {
        let answer: Answer = serde_json::from_slice(bytes).map_err(|_| "its answer is not a token document")?;
        let text = [answer.token, answer.access_token].into_iter().flatten().find(|text| !text.is_empty());
        let header = bearer_header(&text.ok_or("its answer holds no token")?)?;
        let seconds = answer.expires_in.as_ref().and_then(serde_json::Value::as_u64).unwrap_or_default();
        let life = Duration::from_secs(seconds).clamp(LIFETIME_MIN, LIFETIME_MAX);
        Ok(Self { header, until: asked + life })
    }
}

/// Makes the `Authorization` header of a token, marked so that nothing prints it.
pub(crate) fn bearer_header(token: &str) -> Result<HeaderValue, &'static str> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the token is too long to be sent");
    }
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token holds characters that can't be sent");
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| "the token holds characters that can't be sent")?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_that_must_not_be_told_anything_are_refused() {
        for (server, realm, expected) in [
            ("https://reg.example", Some("https://auth.example/token?a=b"), Ok(())),
            ("https://reg.example", Some("https://reg.example:444/token"), Ok(())),
            ("http://127.0.0.1:5000", Some("http://127.0.0.1:5001/token"), Ok(())),
            ("http://127.0.0.1:5000", Some("https://auth.example/token"), Ok(())),
            ("https://reg.example", None, Err("names none")),
            ("https://reg.example", Some(""), Err("not a URL")),
            ("https://reg.example", Some("/token"), Err("not a URL")),
            ("https://reg.example", Some("https://"), Err("not a URL")),
            ("https://reg.example", Some("http://auth.example/token"), Err("plain HTTP")),
            ("https://reg.example", Some("http://reg.example/token"), Err("plain HTTP")),
            ("https://reg.example", Some("http://169.254.169.254/latest"), Err("plain HTTP")),
            ("https://reg.example", Some("file:///etc/shadow"), Err("only https")),
            ("https://reg.example", Some("http://127.0.0.1/token"), Err("loopback")),
            ("https://reg.example", Some("https://localhost/token"), Err("loopback")),
            ("https://reg.example", Some("https://u:hidden@auth.example/"), Err("name, password")),
            ("https://reg.example", Some("https://auth.example/#a"), Err("fragment")),
            ("http://127.0.0.1:5000", Some("http://10.0.0.1/token"), Err("plain HTTP")),
        ] {
            let server = Url::parse(server).unwrap();
            match (checked_realm(realm, &server), expected) {
                (Ok(url), Ok(())) => assert_eq!(Some(url.as_str()), realm),
                (Err(why), Err(word)) => assert!(why.contains(word) && !why.contains("hidden"), "{realm:?}: {why}"),
                (found, _) => panic!("{realm:?}: {found:?}"),
            }
        }
    }

    #[tokio::test]
    async fn answers_are_read_strictly_and_their_life_is_bounded() {
        let now = Instant::now();
        for (answer, expected) in [
            (r#"{"token":"a.b"}"#, Ok(("a.b", 60))),
            (r#"{"access_token":"a","expires_in":300}"#, Ok(("a", 300))),
            (r#"{"token":"a","access_token":"b","expires_in":1}"#, Ok(("a", 60))),
            (r#"{"token":"","access_token":"b","expires_in":-5}"#, Ok(("b", 60))),
            (r#"{"token":null,"access_token":"b","expires_in":"300"}"#, Ok(("b", 60))),
            (r#"{"token":"a","expires_in":18446744073709551615,"issued_at":"x"}"#, Ok(("a", 3600))),
            ("{}", Err("no token")),
            (r#"{"token":"","access_token":""}"#, Err("no token")),
            (r#"{"token":7}"#, Err("not a token document")),
            (r#"{"token":"a\r\nX: b"}"#, Err("can't be sent")),
            (r#"{"token":"a b"}"#, Err("can't be sent")),
            (r#"{"token":"ä"}"#, Err("can't be sent")),
            ("<html>", Err("not a token document")),
            ("", Err("not a token document")),
        ] {
            match (Token::parse(answer.as_bytes(), now), expected) {
                (Ok(token), Ok((text, seconds))) => {
                    assert_eq!(token.header, format!("Bearer {text}"), "{answer}");
                    assert!(token.header.is_sensitive());
                    let end = now + Duration::from_secs(seconds);
                    assert!(token.is_good(end - MARGIN - Duration::from_millis(1)) && !token.is_good(end - MARGIN));
                }
                (Err(why), Err(word)) => assert!(why.contains(word), "{answer}: {why}"),
                (found, _) => panic!("{answer}: {:?}", found.map(|token| token.header)),
            }
        }
        let token = |bytes: usize| bearer_header(&"t".repeat(bytes)).is_ok();
        assert!(token(TOKEN_BYTES_MAX) && !token(TOKEN_BYTES_MAX + 1) && !token(0));
    }
}
