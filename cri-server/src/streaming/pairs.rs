//! Which streams of port-forward belong together: one for data and one for errors. Pure.

use super::spdy::{Headers, StreamId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long one half may wait for the other.
pub(crate) const HALF_TIME: Duration = super::STREAMS_WITHIN;

/// What a stream of a pair is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Carries what the connection carries.
    Data,
    /// Carries why there is none.
    Error,
}

/// Two streams for one connection to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair<T> {
    pub(crate) data: T,
    pub(crate) error: T,
}

/// Halves that wait for the other, by what they have in common.
#[derive(Debug)]
pub(crate) struct Pairs<T> {
    waiting: HashMap<String, (Half, T, Instant)>,
}

/// What came of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placed<T> {
    /// It waits for the other half.
    Waits,
    /// The pair is whole.
    Whole(Pair<T>),
    /// There is such a half already.
    Twice(T),
}

/// Returns what a stream is for and to which port; `None` for one that can't be served.
pub(crate) fn purpose(headers: &Headers) -> Option<(Half, u16)> {
    let half = match headers.get("streamtype")? {
        "data" => Half::Data,
        "error" => Half::Error,
        _ => return None,
    };
    let port: u16 = headers.get("port")?.parse().ok()?;
    (port > 0).then_some((half, port))
}

/// Returns what both halves of a pair have in common. Old clients give no id; they open the stream of errors first, and that of
/// data next.
pub(crate) fn key(id: StreamId, half: Half, headers: &Headers) -> String {
    match (headers.get("requestid"), half) {
        (Some(request), _) => format!("request {request}"),
        (None, Half::Error) => format!("stream {}", id.0),
        (None, Half::Data) => format!("stream {}", id.0.wrapping_sub(2)),
    }
}

impl<T> Pairs<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: HashMap::new() }
    }

    /// Places a stream.
    pub(crate) fn place(&mut self, key: String, half: Half, stream: T, now: Instant) -> Placed<T> {
        match self.waiting.remove(&key) {
            None => {
                self.waiting.insert(key, (half, stream, now));
                Placed::Waits
            }
            Some((Half::Data, data, _)) if half == Half::Error => Placed::Whole(Pair { data, error: stream }),
            Some((Half::Error, error, _)) if half == Half::Data => Placed::Whole(Pair { data: stream, error }),
            Some(first) => {
                self.waiting.insert(key, first);
                Placed::Twice(stream)
            }
        }
    }

    /// Says when the next half has waited too long; `None` when none waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|(_, _, since)| *since + HALF_TIME).min()
    }

    /// Takes the halves out that have waited too long.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<T> {
        let overdue = self.waiting.extract_if(|_, (_, _, since)| *since + HALF_TIME <= now);
        overdue.map(|(_, (_, stream, _))| stream).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_streams_to_a_port_are_served() {
        let purpose = |kind: &str, port: &str| purpose(&Headers::from([("streamtype", kind), ("port", port)]));
        assert_eq!(purpose("data", "80"), Some((Half::Data, 80)));
        assert_eq!(purpose("error", "65535"), Some((Half::Error, 65535)));
        for (kind, port) in [("data", "0"), ("data", "65536"), ("data", ""), ("data", "-1"), ("stdin", "80")] {
            assert_eq!(purpose(kind, port), None, "{kind} {port}");
        }
        assert_eq!(super::purpose(&Headers::from([("streamtype", "data")])), None);
    }

    #[test]
    fn halves_find_each_other_by_request_or_as_neighbours() {
        let with = Headers::from([("requestid", "0")]);
        assert_eq!(key(StreamId(1), Half::Error, &with), key(StreamId(9), Half::Data, &with));
        let without = Headers::default();
        assert_eq!(key(StreamId(5), Half::Error, &without), key(StreamId(7), Half::Data, &without));
        assert_ne!(key(StreamId(1), Half::Error, &without), key(StreamId(1), Half::Error, &with));
        // Nothing before it.
        key(StreamId(1), Half::Data, &without);
    }

    #[test]
    fn a_half_that_comes_twice_or_stays_alone_is_handed_back() {
        let (mut pairs, now) = (Pairs::new(), Instant::now());
        assert_eq!(pairs.due(), None);
        assert_eq!(pairs.place("a".into(), Half::Data, 1, now), Placed::Waits);
        assert_eq!(pairs.place("a".into(), Half::Data, 2, now), Placed::Twice(2));
        assert!(pairs.overdue(now).is_empty());
        assert_eq!(pairs.due(), Some(now + HALF_TIME));
        assert_eq!(pairs.overdue(now + HALF_TIME), [1]);
        assert_eq!(pairs.place("a".into(), Half::Error, 3, now), Placed::Waits);
    }

    proptest! {
        #[test]
        fn in_whatever_order_halves_come_all_pairs_are_whole(
            order in Just((0..20u32).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let (mut pairs, now, mut whole) = (Pairs::new(), Instant::now(), 0);
            for number in order {
                let half = if number % 2 == 0 { Half::Error } else { Half::Data };
                if let Placed::Whole(pair) = pairs.place((number / 2).to_string(), half, number, now) {
                    prop_assert_eq!(pair.data, pair.error + 1);
                    whole += 1;
                }
            }
            prop_assert_eq!((whole, pairs.due()), (10, None));
        }
    }
}
