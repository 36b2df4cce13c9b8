//! One pull's talk with one server: where requests go, who is told the credentials, what an answer means.

use crate::challenge::{self, Asked, Bearer};
use crate::credentials;
use crate::error::Error;
use crate::hosts::{self, Endpoint, Role};
use crate::token::{Ask, bearer_header};
use crate::tokens::Tokens;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use orlop_model::image::Credentials;
use orlop_model::reference::Reference;
use reqwest::{Response, Url};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Redirects followed for one request; registries use one, to where their blobs are.
const REDIRECTS_MAX: usize = 5;

/// Bytes of an error answer that are read for its message.
const SAID_BYTES_MAX: usize = 4096;

/// Characters of a server's own words that are passed on.
const SAID_CHARS_MAX: usize = 200;

/// Longest wait that a server can ask for; a caller would have given up after more.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// A talk with one server.
pub(crate) struct Session {
    endpoint: Endpoint,
    client: reqwest::Client,
    /// The registry's name, which a mirror has to be told.
    namespace: Option<String>,
    credentials: Credentials,
    /// What tokens are asked for: to read one repository, nothing more.
    scope: String,
    tokens: Arc<Tokens>,
    /// What the server asked for last, so that every further request has it at once.
    asked: Mutex<Option<Asked>>,
}

/// What a request carries to prove who pulls.
enum Told {
    Nothing,
    Basic,
    Token {
        header: HeaderValue,
        /// No better one can be had.
        fresh: bool,
    },
}

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// Whether the same request may work later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It won't.
    No,
    /// It may, after the usual wait.
    Yes,
    /// The server named a time.
    After(Duration),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { error, again: Again::No }
    }
}

// === impl Session ===

impl Session {
    /// Starts a talk. Only the registry that the reference names hears of the credentials: they are its own, and a mirror
    /// may be run by someone else.
    pub(crate) fn new(
        endpoint: Endpoint,
        client: reqwest::Client,
        reference: &Reference,
        credentials: &Credentials,
        tokens: Arc<Tokens>,
    ) -> Self {
        let (namespace, credentials) = match endpoint.role {
            Role::Mirror => (Some(reference.host().to_owned()), Credentials::Anonymous),
            Role::Registry => (None, credentials.clone()),
        };
        let scope = format!("repository:{}:pull", reference.path());
        Self { endpoint, client, namespace, credentials, scope, tokens, asked: Mutex::default() }
    }

    /// Returns what the server may be asked for.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the server's name for messages.
    pub(crate) fn host(&self) -> String {
        authority(&self.endpoint.url)
    }

    /// Sends a GET below `/v2/` and returns the answer when it is 200. `what` is for messages.
    pub(crate) async fn get(&self, path: &str, accept: &str, what: &str) -> Result<Response, Fault> {
        let known = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut told = match known {
            Some(asked) => self.tell(&asked, &Told::Nothing, what).await?,
            None => Told::Nothing,
        };
        // Three rounds at most: with nothing, with a token that was kept, with a fresh one.
        loop {
            let answer = self.follow(self.url(path)?, accept, what, &told).await?;
            // Only the server itself may ask: what it redirects to must not choose who is told the credentials.
            let can_tell_more = !told.is_last() && self.is_home(answer.url());
            if answer.status() != StatusCode::UNAUTHORIZED || !can_tell_more {
                return self.judge(answer, &told, what).await;
            }
            let asked = self.read_challenge(&answer, what)?;
            told = self.tell(&asked, &told, what).await?;
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        }
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        let before = self.endpoint.url.path().trim_end_matches('/');
        let before = before.strip_suffix("/v2").unwrap_or(before);
        let mut url = self.endpoint.url.clone();
        url.set_path(&format!("{before}/v2/{path}"));
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    async fn follow(&self, start: Url, accept: &str, what: &str, told: &Told) -> Result<Response, Fault> {
        let mut url = start;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(&url, accept, told).await.map_err(|error| self.unreachable(error, what))?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            url = self.redirected(&url, &answer, what)?;
        }
        Err(self.registry(what, format!("it redirects more than {REDIRECTS_MAX} times")).into())
    }

    async fn send(&self, url: &Url, accept: &str, told: &Told) -> Result<Response, reqwest::Error> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, accept);
        if self.is_home(url) {
            request = match (told, &self.credentials) {
                (Told::Basic, Credentials::Basic { username, password }) => {
                    request.basic_auth(username, Some(password))
                }
                (Told::Token { header, .. }, _) => request.header(AUTHORIZATION, header.clone()),
                (Told::Basic | Told::Nothing, _) => request,
            };
        }
        request.send().await
    }

    /// Compared with where the talk started, not with the previous hop: a detour must not lead back to another port.
    fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.url.origin()
    }

    fn redirected(&self, from: &Url, answer: &Response, what: &str) -> Result<Url, Error> {
        let wrong = |why: String| self.registry(what, why);
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| wrong("it redirects without saying where to".to_owned()))?;
        let to = from.join(location).map_err(|_| wrong("it redirects to what is not a URL".to_owned()))?;
        let may_lead = hosts::may_lead_to(&self.endpoint.url, &to);
        may_lead.map_err(|why| wrong(format!("it redirects to {}: {why}", authority(&to))))?;
        Ok(to)
    }

    fn read_challenge(&self, answer: &Response, what: &str) -> Result<Asked, Error> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE);
        challenge::read(headers.iter().map(HeaderValue::as_bytes))
            .map_err(|why| self.registry(what, format!("it asks for credentials in a way that can't be read: {why}")))
    }

    /// Returns what to send to a server that asks, after `before` was not enough.
    async fn tell(&self, asked: &Asked, before: &Told, what: &str) -> Result<Told, Fault> {
        match (asked, &self.credentials) {
            (Asked::Basic, Credentials::Basic { .. }) => Ok(Told::Basic),
            (Asked::Basic, Credentials::Anonymous) => Err(match self.endpoint.role {
                Role::Registry => self.denied(what, "it asks for a name and password, and none were given"),
                Role::Mirror => self.denied(what, "it asks for a name and password, which mirrors are not given"),
            }),
            (Asked::Basic, Credentials::IdentityToken(_) | Credentials::RegistryToken(_)) => {
                Err(self.denied(what, "it takes no tokens; give a name and password"))
            }
            (Asked::Bearer(_), Credentials::RegistryToken(token)) => match bearer_header(token) {
                Ok(header) => Ok(Told::Token { header, fresh: true }),
                Err(why) => Err(self.denied(what, format!("{why}; check the registry token given"))),
            },
            (
                Asked::Bearer(challenge),
                Credentials::Anonymous | Credentials::Basic { .. } | Credentials::IdentityToken(_),
            ) => self.fetch_token(challenge, before, what).await,
            (Asked::Unknown, _) => {
                Err(self.denied(what, "it asks for a kind of authentication that is not known here"))
            }
        }
    }

    async fn fetch_token(&self, challenge: &Bearer, before: &Told, what: &str) -> Result<Told, Fault> {
        let ask = Ask::new(&self.endpoint, challenge, &self.scope, &self.credentials)
            .map_err(|why| self.registry(what, why))?;
        let refused = match before {
            Told::Token { header, .. } => Some(header),
            Told::Nothing | Told::Basic => None,
        };
        let given = self.tokens.get(&ask, refused, what).await?;
        Ok(Told::Token { header: given.header, fresh: given.fresh })
    }

    async fn judge(&self, answer: Response, told: &Told, what: &str) -> Result<Response, Fault> {
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let (again, elsewhere) = (again(&answer), (!self.is_home(answer.url())).then(|| authority(answer.url())));
        let said = said(answer, &self.credentials).await;
        let (host, what) = (self.host(), what.to_owned());
        let error = match status {
            StatusCode::NOT_FOUND => Error::NotFound { host, what, said },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = match elsewhere {
                    Some(other) => format!("{other}, which it redirects to, answers {status}{said}"),
                    None => format!("it answers {status}{said}; {}", self.advice(told)),
                };
                Error::Denied { host, what, why }
            }
            _ => Error::Registry { host, what, why: format!("it answers {status}{said}") },
        };
        Err(Fault { error, again })
    }

    /// Says what to do about a refusal.
    fn advice(&self, told: &Told) -> String {
        let given = credentials::name(&self.credentials);
        match (told, &self.credentials) {
            (Told::Nothing, _) => "ask who runs it to let this node pull".to_owned(),
            (Told::Basic | Told::Token { .. }, Credentials::RegistryToken(_)) | (Told::Basic, _) => {
                format!("it does not accept {given}; check that they are right and may pull from this repository")
            }
            (Told::Token { .. }, Credentials::Anonymous) => match self.endpoint.role {
                Role::Registry => "the repository does not exist or needs a login: check its name, or give credentials",
                Role::Mirror => "the repository does not exist there or needs a login, and mirrors are given none",
            }
            .to_owned(),
            (Told::Token { .. }, Credentials::Basic { .. } | Credentials::IdentityToken(_)) => {
                format!("{given} may not pull from this repository, or it does not exist: check both")
            }
        }
    }

    fn denied(&self, what: &str, why: impl Into<String>) -> Fault {
        Error::Denied { host: self.host(), what: what.to_owned(), why: why.into() }.into()
    }

    /// Makes a fault of a connection that could not be made or that broke.
    pub(crate) fn unreachable(&self, error: reqwest::Error, what: &str) -> Fault {
        Fault { error: self.registry(what, chain(error)), again: Again::Yes }
    }

    fn registry(&self, what: &str, why: String) -> Error {
        Error::Registry { host: self.host(), what: what.to_owned(), why }
    }
}

impl Told {
    /// Returns whether there is nothing more to be told.
    fn is_last(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Basic => true,
            Self::Token { fresh, .. } => *fresh,
        }
    }
}

/// Flattens an HTTP error. Without its URL: what follows a redirect can hold a signature that is as good as a password.
pub(crate) fn chain(error: reqwest::Error) -> String {
    orlop_model::Failure::because(orlop_model::ErrorKind::Internal, &error.without_url()).message
}

/// Returns a server's name for messages.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Returns whether what was answered like this may work later.
pub(crate) fn again(answer: &Response) -> Again {
    let status = answer.status();
    let passing =
        status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS;
    match (passing, answer.headers().get(RETRY_AFTER).and_then(retry_after)) {
        (false, _) => Again::No,
        (true, None) => Again::Yes,
        (true, Some(wait)) => Again::After(wait),
    }
}

/// Returns the message of a server's error document, ready to be appended: untrusted, so short and without controls, and
/// left out when it repeats a secret.
pub(crate) async fn said(mut answer: Response, credentials: &Credentials) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(SAID_BYTES_MAX - bytes.len())]);
        if bytes.len() == SAID_BYTES_MAX {
            break;
        }
    }
    let text = serde_json::from_slice(&bytes).ok().and_then(|document| message(&document)).unwrap_or_default();
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    if clean.is_empty() || credentials::secret(credentials).is_some_and(|secret| clean.contains(secret)) {
        return String::new();
    }
    format!(" ({})", clean.chars().take(SAID_CHARS_MAX).collect::<String>())
}

/// Finds the message where registries put it, or, as token servers do, where OAuth and others put it.
fn message(document: &serde_json::Value) -> Option<String> {
    let of_registry = || document.get("errors")?.get(0)?.get("message")?.as_str();
    let of_others = || ["error_description", "details", "message"].iter().find_map(|key| document.get(key)?.as_str());
    of_registry().or_else(of_others).map(str::to_owned)
}
