//! `GET` and `HEAD /_ping`: what a client asks first, to learn the version from the headers.

use crate::http::reply::{Answered, typed, whole};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};

pub(crate) fn answer() -> Answered {
    let mut reply = typed(StatusCode::OK, "text/plain; charset=utf-8", whole("OK"));
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("Builder-Version", HeaderValue::from_static("1"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    Ok(reply)
}
