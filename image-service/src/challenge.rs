//! The `WWW-Authenticate` header, as far as it decides what to do next. Pure; RFC 9110, section 11.6.1.

/// What a registry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token from somewhere else.
    Bearer,
    /// Nothing known.
    Unknown,
}

/// Returns what can be done about a challenge; basic wins, since it can be answered at once.
pub(crate) fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Challenge {
    let mut found = Challenge::Unknown;
    for header in headers {
        for scheme in schemes(header) {
            if scheme.eq_ignore_ascii_case("basic") {
                return Challenge::Basic;
            }
            if scheme.eq_ignore_ascii_case("bearer") {
                found = Challenge::Bearer;
            }
        }
    }
    found
}

/// Returns the words that can be schemes: those at the start or after a comma that no `=` follows. Text between quotes,
/// which may hold commas, is not looked at.
fn schemes(header: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut quoted = false;
    let parts = header.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    for part in parts {
        let word = part.split_whitespace().next().unwrap_or_default();
        if !word.is_empty() && !word.contains('=') {
            found.push(word);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_is_found_among_parameters() {
        for (header, expected) in [
            ("Basic realm=\"a\"", Challenge::Basic),
            ("basic realm=\"a, Bearer b\"", Challenge::Basic),
            ("Bearer realm=\"https://x/token\",service=\"y\",scope=\"repository:a:pull\"", Challenge::Bearer),
            ("Bearer realm=\"x\", Basic realm=\"y\"", Challenge::Basic),
            ("Digest qop=\"auth, Basic\"", Challenge::Unknown),
            ("", Challenge::Unknown),
            ("\"", Challenge::Unknown),
            (",,,", Challenge::Unknown),
        ] {
            assert_eq!(read([header].into_iter()), expected, "{header}");
        }
    }

    #[test]
    fn several_headers_are_all_read() {
        assert_eq!(read(["Bearer realm=\"x\"", "Basic realm=\"y\""].into_iter()), Challenge::Basic);
    }
}
