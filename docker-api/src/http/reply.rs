//! Answers: JSON, nothing, or a stream.

use super::error::ApiError;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;

/// A body of any kind.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub(crate) type Reply = Response<Body>;
/// What a handler returns.
pub(crate) type Answered = Result<Reply, ApiError>;

/// Returns a whole body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Returns a body that comes piece by piece; each piece is sent at once.
pub(crate) fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)))).boxed_unsync()
}

/// Answers with JSON and 200.
pub(crate) fn json(value: &impl Serialize) -> Answered {
    json_with(StatusCode::OK, value)
}

/// Answers with JSON.
pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Answered {
    let mut text = serde_json::to_vec(value).map_err(|wrong| ApiError::internal(format!("write JSON: {wrong}")))?;
    text.push(b'\n');
    Ok(typed(status, "application/json", whole(text)))
}

/// Answers with a status alone.
pub(crate) fn empty(status: StatusCode) -> Answered {
    let mut reply = Response::new(whole(Bytes::new()));
    *reply.status_mut() = status;
    Ok(reply)
}

/// Answers with a body of a type.
pub(crate) fn typed(status: StatusCode, media_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// Answers with an error.
pub(crate) fn error(error: &ApiError) -> Reply {
    let text = json!({ "message": error.message() }).to_string() + "\n";
    typed(error.status(), "application/json", whole(text))
}
