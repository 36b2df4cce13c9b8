//! `POST /images/create`: a pull, told line by line.

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, streamed, typed};
use crate::http::server::Call;
use crate::translate::credentials;
use crate::view::pull::Teller;
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use orlop_model::ErrorKind;
use orlop_model::Failure;
use orlop_model::ports::PullListener;
use orlop_model::pull::{PullProgress, PullRequest, Pulled};
use orlop_model::reference::Reference;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Lines on their way to a client that does not read; what it is then told skips none of the facts.
const LINES_MAX: usize = 4096;

pub(crate) async fn answer(call: &Call) -> Answered {
    let query = &call.query;
    let reference = reference(query.text("fromImage"), query.text("tag"))?;
    check_platform(query.text("platform"))?;
    let credentials = credentials::parse(call.request.headers().get("X-Registry-Auth"))?;
    let named = reference.familiar();
    let asked = PullRequest { reference: reference.to_string(), credentials, owner: crate::app::namespace() };
    let (lines, told) = mpsc::channel(LINES_MAX);
    let (begun, has_begun) = oneshot::channel();
    let app = Arc::clone(&call.app);
    // Owned by the body that reads the lines: it ends when the client has gone, and the pull with it.
    tokio::spawn(pull(app, asked, reference, Mouth { lines, begun: Mutex::new(Some(begun)) }));
    // A pull that fails before there is anything to tell is an answer with a status.
    match has_begun.await {
        Ok(Some(failure)) => Err(refused(failure, &named)),
        Ok(None) | Err(_) => {
            let lines = stream::unfold(told, |mut told| async move { told.recv().await.map(|line| (line, told)) });
            Ok(typed(StatusCode::OK, "application/json", streamed(lines)))
        }
    }
}

fn reference(from: &str, tag: &str) -> Result<Reference, ApiError> {
    let invalid = || ApiError::bad("invalid reference format");
    if from.is_empty() {
        return Err(invalid());
    }
    let named = from.contains('@') || from.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    let text = match tag {
        "" if named => from.to_owned(),
        "" => return Err(ApiError::not_built("pulling every tag of a repository (a pull without a tag)")),
        digest if digest.starts_with("sha256:") => format!("{from}@{digest}"),
        tag => format!("{from}:{tag}"),
    };
    Reference::parse(&text).map_err(|_| invalid())
}

fn check_platform(asked: &str) -> Result<(), ApiError> {
    let mut parts = asked.split('/');
    let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let own = crate::routes::architecture();
    if matches!(os, "" | "linux") && (architecture.is_empty() || architecture == own) {
        return Ok(());
    }
    Err(ApiError::not_built(format!("pulling for another platform than linux/{own} ({asked})")))
}

/// Where lines leave.
struct Mouth {
    lines: mpsc::Sender<Bytes>,
    begun: Mutex<Option<oneshot::Sender<Option<Failure>>>>,
}

impl Mouth {
    fn begin(&self, failure: Option<Failure>) {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begun) = begun {
            // The client has gone: nobody minds.
            drop(begun.send(failure));
        }
    }

    fn say(&self, line: &Value) {
        drop(self.lines.try_send(Bytes::from(format!("{line}\r\n"))));
    }

    fn has_begun(&self) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// Hears how far a pull is, and tells what is new.
struct Listener<'a> {
    mouth: &'a Mouth,
    teller: Mutex<Teller>,
}

impl PullListener for Listener<'_> {
    fn hear(&self, progress: &PullProgress) {
        if progress.layers.is_empty() {
            return;
        }
        self.mouth.begin(None);
        for line in self.teller.lock().unwrap_or_else(PoisonError::into_inner).tell(progress) {
            self.mouth.say(&line);
        }
    }
}

async fn pull(app: Arc<App>, asked: PullRequest, reference: Reference, mouth: Mouth) {
    let images = app.facade.images();
    let listener = Listener { mouth: &mouth, teller: Mutex::new(Teller::of(&reference)) };
    let pulled = tokio::select! {
        pulled = images.pull(&asked, &listener) => pulled,
        () = mouth.lines.closed() => return,
    };
    match pulled {
        Ok(pulled) => {
            mouth.begin(None);
            let ended = listener.teller.lock().unwrap_or_else(PoisonError::into_inner).end(&pulled);
            for line in ended {
                mouth.say(&line);
            }
            tell_of(&app, &reference, &pulled);
        }
        Err(failure) if mouth.has_begun() => {
            mouth.say(&json!({ "errorDetail": { "message": failure.message }, "error": failure.message }));
        }
        Err(failure) => mouth.begin(Some(failure)),
    }
}

fn tell_of(app: &App, reference: &Reference, pulled: &Pulled) {
    let attributes = BTreeMap::from([("name".to_owned(), reference.familiar_name())]);
    debug_assert!(!pulled.digest.as_str().is_empty());
    app.events.tell(crate::time::now(), "image", "pull", reference.familiar(), attributes);
}

/// Says why a pull failed, in words that clients look for.
fn refused(failure: Failure, name: &str) -> ApiError {
    match failure.kind {
        ErrorKind::NotFound => {
            tracing::debug!(error = %failure, "there is no such manifest");
            ApiError::not_found(format!("manifest for {name} not found: manifest unknown: manifest unknown"))
        }
        ErrorKind::Denied => ApiError::not_found(format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': denied: {}",
            failure.message
        )),
        ErrorKind::InvalidArgument
        | ErrorKind::AlreadyExists
        | ErrorKind::WrongState
        | ErrorKind::Unavailable
        | ErrorKind::TimedOut
        | ErrorKind::Cancelled
        | ErrorKind::Unsupported
        | ErrorKind::Exhausted
        | ErrorKind::Internal
        | ErrorKind::Corrupt
        | ErrorKind::RegistryUnavailable
        | ErrorKind::SignatureInvalid
        | ErrorKind::RecursiveReadOnlyUnsupported
        | ErrorKind::ImageVolumeFailed => failure.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_or_refused() {
        for (from, tag, whole) in [
            ("busybox", "1", "docker.io/library/busybox:1"),
            ("busybox:2", "", "docker.io/library/busybox:2"),
            ("localhost:5000/a", "1", "localhost:5000/a:1"),
        ] {
            assert_eq!(reference(from, tag).unwrap().to_string(), whole);
        }
        assert_eq!(reference("busybox", "").unwrap_err().status().as_u16(), 501);
        assert_eq!(reference("localhost:5000/a", "").unwrap_err().status().as_u16(), 501);
        for (from, tag) in [("", ""), ("UPPER", "1"), ("a b", "1"), ("a", "x y")] {
            assert_eq!(reference(from, tag).unwrap_err().message(), "invalid reference format");
        }
    }
}
