//! One pull's talk with one server: where requests go, who is told the credentials, what an answer means.

use crate::challenge::{self, Challenge};
use crate::error::Error;
use crate::hosts::{self, Endpoint, Role};
use http::StatusCode;
use http::header::{ACCEPT, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use orlop_model::image::Credentials;
use reqwest::{Response, Url};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The server has asked for basic credentials, so they go with every further request.
    basic: AtomicBool,
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
    pub(crate) fn new(endpoint: Endpoint, client: reqwest::Client, registry: &str, credentials: &Credentials) -> Self {
        let (namespace, credentials) = match endpoint.role {
            Role::Mirror => (Some(registry.to_owned()), Credentials::Anonymous),
            Role::Registry => (None, credentials.clone()),
        };
        Self { endpoint, client, namespace, credentials, basic: AtomicBool::new(false) }
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
        let told = self.basic.load(Ordering::Relaxed);
        let answer = self.follow(self.url(path)?, accept, what).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || told {
            return self.judge(answer, what).await;
        }
        self.answer_challenge(&answer, what)?;
        let again = self.follow(self.url(path)?, accept, what).await?;
        self.judge(again, what).await
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

    async fn follow(&self, start: Url, accept: &str, what: &str) -> Result<Response, Fault> {
        let mut url = start;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(&url, accept).await.map_err(|error| self.unreachable(error, what))?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            url = self.redirected(&url, &answer, what)?;
        }
        Err(self.registry(what, format!("it redirects more than {REDIRECTS_MAX} times")).into())
    }

    async fn send(&self, url: &Url, accept: &str) -> Result<Response, reqwest::Error> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, accept);
        // Compared with where the talk started, not with the previous hop: a detour must not lead back to another port.
        let home = url.origin() == self.endpoint.url.origin();
        if home && self.basic.load(Ordering::Relaxed) {
            match &self.credentials {
                Credentials::Anonymous => {}
                Credentials::Basic { username, password } => request = request.basic_auth(username, Some(password)),
            }
        }
        request.send().await
    }

    fn redirected(&self, from: &Url, answer: &Response, what: &str) -> Result<Url, Error> {
        let wrong = |why: String| self.registry(what, why);
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| wrong("it redirects without saying where to".to_owned()))?;
        let to = from.join(location).map_err(|_| wrong("it redirects to what is not a URL".to_owned()))?;
        hosts::may_be_used(&to).map_err(|why| wrong(format!("it redirects to {}: {why}", authority(&to))))?;
        if hosts::is_loopback(&to) && !hosts::is_loopback(&self.endpoint.url) {
            // Services of the node itself trust what comes from loopback.
            return Err(wrong("it redirects to a loopback address of this node".to_owned()));
        }
        Ok(to)
    }

    fn answer_challenge(&self, answer: &Response, what: &str) -> Result<(), Error> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenge::read(headers.iter().filter_map(|value| value.to_str().ok()));
        let denied = |why: &str| Error::Denied { host: self.host(), what: what.to_owned(), why: why.to_owned() };
        match (challenge, &self.credentials) {
            (Challenge::Basic, Credentials::Basic { .. }) => {
                self.basic.store(true, Ordering::Relaxed);
                Ok(())
            }
            (Challenge::Basic, Credentials::Anonymous) => match self.endpoint.role {
                Role::Registry => Err(denied("it asks for a name and password, and none were given")),
                Role::Mirror => Err(denied("it asks for a name and password, which mirrors are not given")),
            },
            (Challenge::Bearer, _) => Err(Error::Unsupported {
                what: self.host(),
                why: format!(
                    "it asks for a bearer token for {what}, and only basic and anonymous access are supported"
                ),
            }),
            (Challenge::Unknown, _) => Err(denied("it asks for a kind of authentication that is not known here")),
        }
    }

    async fn judge(&self, answer: Response, what: &str) -> Result<Response, Fault> {
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let named = answer.headers().get(RETRY_AFTER).and_then(retry_after);
        let said = said(answer).await;
        let host = self.host();
        let what = what.to_owned();
        let denied = |why: String| Error::Denied { host: host.clone(), what: what.clone(), why };
        Err(match status {
            StatusCode::NOT_FOUND => Error::NotFound { host, what, said }.into(),
            StatusCode::UNAUTHORIZED if self.basic.load(Ordering::Relaxed) => {
                denied(format!("it does not accept the name and password given{said}")).into()
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => denied(format!("it answers {status}{said}")).into(),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                let again = named.map_or(Again::Yes, Again::After);
                Fault { error: Error::Registry { host, what, why: format!("it answers {status}{said}") }, again }
            }
            status => {
                let again = match (status.is_server_error(), named) {
                    (true, Some(wait)) => Again::After(wait),
                    (true, None) => Again::Yes,
                    (false, _) => Again::No,
                };
                Fault { error: Error::Registry { host, what, why: format!("it answers {status}{said}") }, again }
            }
        })
    }

    /// Makes a fault of a connection that could not be made or that broke.
    pub(crate) fn unreachable(&self, error: reqwest::Error, what: &str) -> Fault {
        Fault { error: self.registry(what, chain(error)), again: Again::Yes }
    }

    fn registry(&self, what: &str, why: String) -> Error {
        Error::Registry { host: self.host(), what: what.to_owned(), why }
    }
}

/// Flattens an HTTP error. Without its URL: what follows a redirect can hold a signature that is as good as a password.
pub(crate) fn chain(error: reqwest::Error) -> String {
    orlop_model::Failure::because(orlop_model::ErrorKind::Internal, &error.without_url()).message
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Returns the message of a registry's error document, ready to be appended: untrusted, so short and without controls.
async fn said(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(SAID_BYTES_MAX - bytes.len())]);
        if bytes.len() == SAID_BYTES_MAX {
            break;
        }
    }
    let message = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|document| Some(document.get("errors")?.get(0)?.get("message")?.as_str()?.to_owned()));
    match message {
        Some(text) => {
            let clean: String = text.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect();
            format!(" ({clean})")
        }
        None => String::new(),
    }
}
