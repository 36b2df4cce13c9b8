//! Bodies of requests: JSON within a bound, in dockerd's words when it is none.

use super::error::ApiError;
use super::fields::{Field, Sifted, sift};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Longest JSON body. A create with hundreds of labels has some ten kilobytes.
const JSON_BYTES_MAX: usize = 4 << 20;
/// How long the body of a JSON request may take to arrive.
const JSON_WITHIN: Duration = Duration::from_secs(60);

/// A request's JSON, checked against its table.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    /// What was asked; `None` when the body is empty.
    pub(crate) value: Option<T>,
    /// How many fields nobody knows.
    pub(crate) unknown: u64,
}

/// Reads a JSON body.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    type_name: &'static str,
    table: &'static [Field],
) -> Result<Asked<T>, ApiError> {
    let empty = body.0.as_ref().is_none_or(|incoming| incoming.size_hint().exact() == Some(0));
    check_type(headers, empty)?;
    let bytes = match body.take() {
        Some(incoming) => read(incoming).await?,
        None => Bytes::new(),
    };
    match parse(&bytes, type_name, table)? {
        None => Ok(Asked { value: None, unknown: 0 }),
        Some(Sifted { value, unknown }) => {
            let value =
                serde_json::from_value(value).map_err(|wrong| ApiError::bad(format!("invalid JSON: {wrong}")))?;
            Ok(Asked { value: Some(value), unknown })
        }
    }
}

/// The body of a request. What nobody took is read to its end, within the bounds of JSON: a client that is still writing would
/// find its connection closed, and not read the answer.
pub(crate) struct Body(Option<Incoming>);

// === impl Body ===

impl Body {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self(Some(incoming))
    }

    /// Hands out what comes, for whoever reads it as it comes; `None` when it was handed out before.
    pub(crate) fn take(mut self) -> Option<Incoming> {
        self.0.take()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(incoming) = self.0.take().filter(|incoming| !incoming.is_end_stream()) {
            // What is over the bounds is left unread: the connection ends with the answer.
            tokio::spawn(read(incoming));
        }
    }
}

/// Reads a whole body.
async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let limited = Limited::new(body, JSON_BYTES_MAX).collect();
    match tokio::time::timeout(JSON_WITHIN, limited).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(wrong)) if wrong.is::<LengthLimitError>() => {
            let message = format!("the request's body has more than {JSON_BYTES_MAX} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(wrong)) => Err(ApiError::bad(format!("error reading request body: {wrong}"))),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the request's body took too long to arrive")),
    }
}

/// A body must say that it is JSON; no body needs to say nothing.
fn check_type(headers: &HeaderMap, empty: bool) -> Result<(), ApiError> {
    let said = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media_type = said.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match said {
        None | Some("") if empty => Ok(()),
        None | Some("") => Err(ApiError::bad("malformed Content-Type header (): mime: no media type")),
        Some(_) if media_type == "application/json" => Ok(()),
        Some(other) => {
            Err(ApiError::bad(format!("unsupported Content-Type header ({other}): must be 'application/json'")))
        }
    }
}

/// Parses one JSON object; `None` when there is nothing.
fn parse(bytes: &[u8], type_name: &'static str, table: &'static [Field]) -> Result<Option<Sifted>, ApiError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    match values.next() {
        None => Err(ApiError::bad("invalid JSON: got EOF while reading request body")),
        Some(Err(wrong)) => Err(ApiError::bad(format!("invalid JSON: {}", in_gos_words(bytes, &wrong)))),
        // JSON's null leaves what Go has.
        Some(Ok(Value::Null)) => Ok(None),
        Some(Ok(value)) => {
            if bytes[values.byte_offset()..].iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Err(ApiError::bad("unexpected content after JSON"));
            }
            sift(value, type_name, table).map(Some)
        }
    }
}

/// Says what is wrong with a text that is no JSON as Go's decoder would.
fn in_gos_words(bytes: &[u8], wrong: &serde_json::Error) -> String {
    if wrong.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = bytes.split(|byte| *byte == b'\n').nth(wrong.line().saturating_sub(1)).unwrap_or_default();
    let said = wrong.to_string();
    match line.get(wrong.column().saturating_sub(1)) {
        Some(byte)
            if said.starts_with("expected value")
                || said.starts_with("key must be")
                || said.starts_with("expected ident") =>
        {
            format!("invalid character {:?} looking for beginning of value", char::from(*byte))
        }
        Some(byte) => format!("invalid character {:?} in the text: {said}", char::from(*byte)),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Kind, honoured};
    use super::*;

    const TABLE: &[Field] = &[honoured("A", Kind::Text)];

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let error = parse(text.as_bytes(), "T", TABLE).unwrap_err();
        assert_eq!(error.status().as_u16(), 400);
        assert_eq!(error.message(), says);
    }

    #[test]
    fn what_is_no_json_is_refused_in_the_words_clients_know() {
        refused("  ", "invalid JSON: got EOF while reading request body");
        refused("xyz", "invalid JSON: invalid character 'x' looking for beginning of value");
        refused("{\"A\":", "invalid JSON: unexpected EOF");
        refused("{} {}", "unexpected content after JSON");
        refused("[]", "invalid JSON: json: cannot unmarshal array into Go value of type T");
        assert!(parse(b"", "T", TABLE).unwrap().is_none());
        assert!(parse(b"null", "T", TABLE).unwrap().is_none());
        assert!(parse(b"{}\n", "T", TABLE).unwrap().is_some());
    }

    #[test]
    fn a_body_says_that_it_is_json() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(value));
            headers
        };
        assert!(check_type(&HeaderMap::new(), true).is_ok());
        assert!(check_type(&with("application/json; charset=utf-8"), false).is_ok());
        let refused = check_type(&with("text/plain"), false).unwrap_err();
        assert_eq!(refused.message(), "unsupported Content-Type header (text/plain): must be 'application/json'");
        assert!(check_type(&HeaderMap::new(), false).is_err());
    }
}
