//! PAX extended headers: records of the form `length key=value\n`. Pure.

use super::Modified;

/// What the records of one extended header change about the member that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<i64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) modified: Option<Modified>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The member is a sparse file of GNU tar.
    pub(super) sparse: bool,
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Reads all records. The last of several with the same key counts, an empty value takes back.
pub(super) fn parse(mut records: &[u8]) -> Result<Pax, String> {
    let mut pax = Pax::default();
    while !records.is_empty() {
        let (key, value, rest) = record(records)?;
        set(&mut pax, key, value)?;
        records = rest;
    }
    Ok(pax)
}

/// Splits off the first record: key, value, rest.
fn record(bytes: &[u8]) -> Result<Record<'_>, String> {
    let bad = || "a record of its extended header is malformed".to_owned();
    let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
    let length = decimal(&bytes[..space]).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
    if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return Err(bad());
    }
    let pair = &bytes[space + 1..length - 1];
    let equals = pair.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
    if equals == 0 {
        return Err(bad());
    }
    Ok((&pair[..equals], &pair[equals + 1..], &bytes[length..]))
}

fn set(pax: &mut Pax, key: &[u8], value: &[u8]) -> Result<(), String> {
    let bad = || format!("the value of {:?} in its extended header is malformed", String::from_utf8_lossy(key));
    let given = !value.is_empty();
    let name = || if value.contains(&0) { Err(bad()) } else { Ok(given.then(|| value.to_vec())) };
    let number = || if given { decimal(value).map(Some).ok_or_else(bad) } else { Ok(None) };
    match key {
        b"path" => pax.path = name()?,
        b"linkpath" => pax.link = name()?,
        b"size" => pax.size = number()?,
        b"uid" => pax.uid = number()?,
        b"gid" => pax.gid = number()?,
        b"mtime" => pax.modified = if given { Some(time(value).ok_or_else(bad)?) } else { None },
        _ if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
        _ => {
            if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                if attribute.is_empty() || attribute.contains(&0) {
                    return Err(bad());
                }
                pax.attributes.retain(|(name, _)| name != attribute);
                pax.attributes.push((attribute.to_vec(), value.to_vec()));
            }
            // Everything else, like atime or comment, changes nothing about an unpacked file.
        }
    }
    Ok(())
}

fn decimal(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with a fraction, possibly negative; digits below a nanosecond are cut.
fn time(text: &[u8]) -> Option<Modified> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    let seconds = if whole.is_empty() { 0 } else { decimal(whole)? };
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let mut nanoseconds = 0_u32;
    for at in 0..9 {
        nanoseconds = nanoseconds * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Modified { seconds, nanoseconds },
        (true, 0) => Modified { seconds: -seconds, nanoseconds },
        (true, _) => Modified { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_change_what_they_name() {
        let pax =
            parse(b"12 path=a/b\n26 mtime=1350244992.02396\n30 SCHILY.xattr.user.x=a=b\n\0c\n9 uid=77\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(pax.modified, Some(Modified { seconds: 1_350_244_992, nanoseconds: 23_960_000 }));
        assert_eq!(pax.attributes, [(b"user.x".to_vec(), b"a=b\n\0c".to_vec())]);
        assert_eq!(pax.uid, Some(77));
    }

    #[test]
    fn last_record_counts_and_an_empty_one_takes_back() {
        let pax = parse(b"10 path=a\n10 path=b\n11 size=77\n8 size=\n").unwrap();
        assert_eq!((pax.path.as_deref(), pax.size), (Some(&b"b"[..]), None));
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 ab\n\n",
            b"5 =b\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
            b"11 path=a\0b\n",
            b"9 size=x\n",
            b"10 size=-1\n",
            b"10 mtime=.\n",
            b"18 SCHILY.xattr.=\n",
            b"6 a=b\n\0\0",
        ] {
            assert!(parse(records).is_err(), "{:?}", String::from_utf8_lossy(records));
        }
    }

    #[test]
    fn times_can_be_negative() {
        for (text, expected) in [
            ("1", Some((1, 0))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            (".5", Some((0, 500_000_000))),
            ("1.0123456789", Some((1, 12_345_678))),
            ("1.x", None),
            ("", None),
            ("9999999999999999999", None),
        ] {
            let found = time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(found, expected, "{text}");
        }
    }
}
