//! How long a caller waits.
//!
//! tonic ends a request whose caller's time is over too, but with CANCELLED, which a kubelet does not take for a time-out.
//! So ours comes a moment earlier.

use std::time::Duration;
use tonic::metadata::MetadataMap;

/// How much earlier than the caller we give up: more than two ticks of tokio's timer, which has one each millisecond.
const EARLIER: Duration = Duration::from_millis(3);

/// Most digits of a timeout; gRPC over HTTP2, "Timeout".
const DIGITS_MAX: usize = 8;

/// Returns how long a request may take; `None` is as long as it takes.
pub(crate) fn of(metadata: &MetadataMap) -> Option<Duration> {
    let wait = parse(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    Some(wait.saturating_sub(EARLIER))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("123456789S", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn we_give_up_before_the_caller_does() {
        let mut metadata = MetadataMap::new();
        assert_eq!(of(&metadata), None);
        metadata.insert("grpc-timeout", "1m".parse().unwrap());
        assert_eq!(of(&metadata), Some(Duration::ZERO));
        metadata.insert("grpc-timeout", "2S".parse().unwrap());
        assert_eq!(of(&metadata), Some(Duration::from_millis(1997)));
    }
}
