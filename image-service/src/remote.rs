//! A repository as seen through all its servers: who is asked next, how often, and what is believed.

use crate::error::Error;
use crate::manifest::{self, MANIFEST_BYTES_MAX};
use crate::session::{Again, Fault, Session};
use http::header::{CONTENT_TYPE, HeaderMap};
use orlop_model::Digest;
use orlop_model::reference::Version;
use reqwest::Response;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How often one server is asked for the same thing while it fails in passing.
const ATTEMPTS_MAX: u32 = 3;

/// The wait before the second attempt; doubled for each further one.
const BACK_OFF: Duration = Duration::from_millis(200);

/// The servers of one repository, for one pull.
pub(crate) struct Remote {
    sessions: Vec<Session>,
    repository: String,
}

/// A manifest or index as it came.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
}

/// What a server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To say what a tag means.
    Resolve,
    /// Bytes that are checked by digest.
    Bytes,
}

// === impl Remote ===

impl Remote {
    /// Makes a repository of its servers, the registry itself last.
    pub(crate) fn new(sessions: Vec<Session>, repository: &str) -> Self {
        Self { sessions, repository: repository.to_owned() }
    }

    /// Fetches a manifest or index.
    pub(crate) async fn document(&self, version: &Version) -> Result<Document, Error> {
        let (need, name) = match version {
            Version::Tag(tag) => (Need::Resolve, tag.as_str()),
            Version::Digest(digest) => (Need::Bytes, digest.as_str()),
        };
        let mut tries = self.tries(need);
        while let Some(session) = tries.next().await {
            match self.document_from(session, version, name).await {
                Ok(document) => return Ok(document),
                Err(fault) => tries.failed(fault),
            }
        }
        Err(tries.into_error(&format!("manifest {}:{name}", self.repository)))
    }

    async fn document_from(&self, session: &Session, version: &Version, name: &str) -> Result<Document, Fault> {
        let what = format!("manifest {}:{name}", self.repository);
        let path = format!("{}/manifests/{name}", self.repository);
        let answer = session.get(&path, manifest::ACCEPT, &what).await?;
        let media_type = header(answer.headers(), CONTENT_TYPE.as_str()).to_owned();
        let promised = Digest::parse(header(answer.headers(), "docker-content-digest")).ok();
        let bytes = read_all(session, answer, MANIFEST_BYTES_MAX, &what).await?;
        let digest = digest_of(&bytes);
        let expected = match version {
            Version::Digest(asked) => Some(asked.clone()),
            Version::Tag(_) => promised,
        };
        if let Some(expected) = expected
            && expected != digest
        {
            return Err(Error::corrupt(expected, format!("{} sent bytes with digest {digest}", session.host())).into());
        }
        Ok(Document { bytes, media_type, digest })
    }

    /// Fetches a small blob whole, checked.
    pub(crate) async fn small_blob(&self, digest: &Digest, size: u64, bytes_max: u64) -> Result<Vec<u8>, Error> {
        if size > bytes_max {
            return Err(Error::too_large(digest, format!("it has {size} bytes, at most {bytes_max} are allowed")));
        }
        let mut tries = self.tries(Need::Bytes);
        while let Some(session) = tries.next().await {
            match self.small_blob_from(session, digest, size).await {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => tries.failed(fault),
            }
        }
        Err(tries.into_error(&format!("blob {digest}")))
    }

    async fn small_blob_from(&self, session: &Session, digest: &Digest, size: u64) -> Result<Vec<u8>, Fault> {
        let answer = self.open_blob(session, digest).await?;
        let bytes = read_all(session, answer, size, &format!("blob {digest}")).await?;
        if bytes.len() as u64 != size {
            let why = format!("{} sent {} bytes, the manifest says {size}", session.host(), bytes.len());
            return Err(Error::corrupt(digest, why).into());
        }
        let found = digest_of(&bytes);
        if found != *digest {
            let why = format!("{} sent bytes with digest {found}", session.host());
            return Err(Error::corrupt(digest, why).into());
        }
        Ok(bytes)
    }

    /// Asks one server for a blob; its bytes are unchecked.
    pub(crate) async fn open_blob(&self, session: &Session, digest: &Digest) -> Result<Response, Fault> {
        session.get(&format!("{}/blobs/{digest}", self.repository), "*/*", &format!("blob {digest}")).await
    }

    /// Starts going through the servers.
    pub(crate) fn tries(&self, need: Need) -> Tries<'_> {
        Tries { sessions: &self.sessions, need, current: 0, attempts: 0, wait: None, last: None, mirrors: Vec::new() }
    }
}

/// Reads an answer's body up to a bound.
async fn read_all(session: &Session, mut answer: Response, bytes_max: u64, what: &str) -> Result<Vec<u8>, Fault> {
    let too_large = || Fault::from(Error::too_large(what, format!("more than the {bytes_max} bytes allowed came")));
    if answer.content_length().is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| session.unreachable(error, what))? {
        if (bytes.len() + chunk.len()) as u64 > bytes_max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns the digest of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    digest_from(Sha256::digest(bytes).as_slice())
}

/// Makes a digest of a finished SHA-256.
pub(crate) fn digest_from(hash: &[u8]) -> Digest {
    Digest::parse(&format!("sha256:{}", hex::encode(hash))).expect("32 bytes as lower-case hex make a digest")
}

/// The order in which servers are tried: each as often as it is worth it, then the next, the registry itself last.
pub(crate) struct Tries<'a> {
    sessions: &'a [Session],
    need: Need,
    current: usize,
    attempts: u32,
    wait: Option<Duration>,
    last: Option<Error>,
    mirrors: Vec<String>,
}

// === impl Tries ===

impl<'a> Tries<'a> {
    /// Returns the server to ask now, after a wait where one is due.
    pub(crate) async fn next(&mut self) -> Option<&'a Session> {
        while let Some(session) = self.sessions.get(self.current) {
            let endpoint = session.endpoint();
            let able = match self.need {
                Need::Resolve => endpoint.resolves,
                Need::Bytes => endpoint.serves,
            };
            if able {
                if let Some(wait) = self.wait.take() {
                    tokio::time::sleep(wait).await;
                }
                return Some(session);
            }
            self.current += 1;
        }
        None
    }

    /// Notes that the server failed.
    pub(crate) fn failed(&mut self, fault: Fault) {
        self.attempts += 1;
        // A mirror is asked once: the next server is closer than the end of a wait.
        let last_server = self.current + 1 == self.sessions.len();
        let wait = match fault.again {
            Again::No => None,
            Again::Yes => Some(BACK_OFF * 2_u32.pow(self.attempts - 1)),
            Again::After(wait) => Some(wait),
        };
        if let Some(wait) = wait
            && last_server
            && self.attempts < ATTEMPTS_MAX
        {
            tracing::debug!(error = %fault.error, "asking the registry again");
            self.wait = Some(wait);
            self.last = Some(fault.error);
            return;
        }
        if !last_server {
            self.mirrors.push(fault.error.to_string());
        }
        self.last = Some(fault.error);
        self.current += 1;
        self.attempts = 0;
    }

    /// Returns why all of them failed: the last one's error, with the mirrors' beside it.
    pub(crate) fn into_error(self, what: &str) -> Error {
        let Some(mut error) = self.last else {
            let why = "no server of the registry configuration has the capability that this needs".to_owned();
            return Error::Registry { host: "the registry configuration".to_owned(), what: what.to_owned(), why };
        };
        if !self.mirrors.is_empty() {
            tracing::warn!(mirrors = ?self.mirrors, "mirrors failed before the registry did");
            if let Error::Registry { why, .. } | Error::Denied { why, .. } | Error::NotFound { said: why, .. } =
                &mut error
            {
                why.push_str(&format!(" (before it: {})", self.mirrors.join("; ")));
            }
        }
        error
    }
}
