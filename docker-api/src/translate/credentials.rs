//! Credentials for a registry: base64 of JSON in a header.

use super::Result;
use crate::http::error::ApiError;
use hyper::header::HeaderValue;
use orlop_model::image::Credentials;
use serde::Deserialize;

/// Longest header; a token has some kilobytes.
const BYTES_MAX: usize = 64 << 10;

/// What the header says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    username: String,
    password: String,
    /// `username:password` in base64, as an older file of settings has it.
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

/// Reads `X-Registry-Auth`. What can't be read is nothing, as dockerd has it: a public image can be pulled all the same.
pub(crate) fn parse(header: Option<&HeaderValue>) -> Result<Credentials> {
    let Some(header) = header else { return Ok(Credentials::Anonymous) };
    if header.len() > BYTES_MAX {
        return Err(ApiError::bad(format!("X-Registry-Auth has more than {BYTES_MAX} bytes")));
    }
    let said: Said = decode(header.as_bytes()).and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let from_auth = decode(said.auth.as_bytes()).and_then(|text| String::from_utf8(text).ok());
    Ok(if !said.registrytoken.is_empty() {
        Credentials::RegistryToken(said.registrytoken)
    } else if !said.identitytoken.is_empty() {
        Credentials::IdentityToken(said.identitytoken)
    } else if !said.username.is_empty() {
        Credentials::Basic { username: said.username, password: said.password }
    } else {
        match from_auth.as_deref().and_then(|text| text.split_once(':')) {
            Some((username, password)) => Credentials::Basic {
                username: username.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            },
            None => Credentials::Anonymous,
        }
    })
}

/// Decodes base64 of either alphabet, with padding or without. RFC 4648
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::with_capacity(text.len() * 3 / 4));
    for digit in text.iter().filter(|digit| **digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Encodes bytes in the usual alphabet, with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or_default();
            text.push(if at <= three.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(json: &str) -> Credentials {
        let url = encode(json.as_bytes()).replace('+', "-").replace('/', "_");
        parse(Some(&HeaderValue::from_str(&url).unwrap())).unwrap()
    }

    #[test]
    fn credentials_come_in_several_shapes() {
        let basic = Credentials::Basic { username: "a".into(), password: "b".into() };
        assert!(of(r#"{"username":"a","password":"b"}"#) == basic);
        assert!(of(&format!(r#"{{"auth":"{}"}}"#, encode(b"a:b"))) == basic);
        assert!(of(r#"{"identitytoken":"t"}"#) == Credentials::IdentityToken("t".into()));
        assert!(of(r#"{"registrytoken":"t","username":"a"}"#) == Credentials::RegistryToken("t".into()));
        assert!(parse(Some(&HeaderValue::from_static("e30="))).unwrap() == Credentials::Anonymous);
        assert!(parse(Some(&HeaderValue::from_static("not base64!"))).unwrap() == Credentials::Anonymous);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
