//! Points in time, as the API writes and reads them.

use crate::http::error::ApiError;
use orlop_model::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// What Go writes for no time at all.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// Returns the wall clock: the one place of the facade that reads it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Writes RFC 3339 as Go's `RFC3339Nano` does: without trailing zeros.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let fixed = rfc3339_fixed(at);
    let (whole, fraction) = fixed.trim_end_matches('Z').split_once('.').unwrap_or((&fixed, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{whole}Z") } else { format!("{whole}.{fraction}Z") }
}

/// Writes RFC 3339 with nine digits of a second, as log lines have it.
pub(crate) fn rfc3339_fixed(at: Timestamp) -> String {
    let (seconds, nanos) = (at.0.div_euclid(SECOND_NS), at.0.rem_euclid(SECOND_NS));
    let (year, month, day) = civil(seconds.div_euclid(DAY_S));
    let of_day = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Reads RFC 3339, with a zone.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(digits);
    let days = days(date.next()??, date.next()??, date.next()??)?;
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.splitn(3, ':').map(digits);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days.checked_mul(DAY_S)? + hour * 3600 + minute * 60 + second - zone_seconds(zone)?;
    Some(Timestamp(seconds.checked_mul(SECOND_NS)?.checked_add(nanos(fraction)?)?))
}

/// Reads the time in `since` and `until`: seconds of the Unix epoch with a fraction, or RFC 3339; `None` for nothing and 0.
pub(crate) fn parse_asked(text: &str) -> Result<Option<Timestamp>, ApiError> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let bad = || ApiError::bad(format!("failed to parse {text:?} as a time"));
    if let Some(at) = parse_rfc3339(text) {
        return Ok(Some(at));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| bad())?;
    let fraction = nanos(fraction).ok_or_else(bad)?;
    let at = seconds.checked_mul(SECOND_NS).and_then(|whole| whole.checked_add(fraction));
    at.map(|at| Some(Timestamp(at))).ok_or_else(bad)
}

/// Returns whole seconds of the Unix epoch.
pub(crate) fn unix(at: Timestamp) -> i64 {
    at.0.div_euclid(SECOND_NS)
}

fn digits(text: &str) -> Option<i64> {
    let good = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

/// Returns the nanoseconds of the digits behind a point.
fn nanos(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut nine: String = fraction.chars().take(9).collect();
    while nine.len() < 9 {
        nine.push('0');
    }
    nine.parse().ok()
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (digits(hours)? * 3600 + digits(minutes)? * 60))
}

/// Returns year, month and day of a day since the Unix epoch, by the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last of one; eras of 400 years are all alike.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    Some(era * 146_097 + of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_321_484_348_738_060, "2026-11-22T04:24:44.34873806Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(at)), text);
            assert_eq!(parse_rfc3339(text), Some(Timestamp(at)));
        }
        assert_eq!(rfc3339_fixed(Timestamp(1_000_000_000)), "1970-01-01T00:00:01.000000000Z");
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(Timestamp(0)));
    }

    #[test]
    fn times_are_asked_for_in_seconds_or_in_words() {
        assert_eq!(parse_asked("").unwrap(), None);
        assert_eq!(parse_asked("0").unwrap(), None);
        assert_eq!(parse_asked("1.5").unwrap(), Some(Timestamp(1_500_000_000)));
        assert_eq!(parse_asked("7.000000001").unwrap(), Some(Timestamp(7_000_000_001)));
        for bad in ["x", "1.x", "1-2-3", "99999999999999999999"] {
            assert!(parse_asked(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back_as_it_was_written(at in 0i64..i64::MAX / 2) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(Timestamp(at))), Some(Timestamp(at)));
        }

        #[test]
        fn any_text_gets_an_answer(text in ".{0,40}") {
            let _ = (parse_rfc3339(&text), parse_asked(&text));
        }
    }
}
