//! The `WWW-Authenticate` header, as far as it decides what to do next. Pure; RFC 9110, sections 5.6 and 11.
//!
//! Read strictly: what is asked for decides where credentials go, so a header that can be read in two ways is refused.

/// Bytes of all such headers of one answer; the longest known realms have some hundred.
const BYTES_MAX: usize = 8 * 1024;

/// Challenges in one answer; real ones have one or two.
const CHALLENGES_MAX: usize = 8;

/// Parameters of one challenge; a token challenge has up to five.
const PARAMETERS_MAX: usize = 16;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A name and a password.
    Basic,
    /// A token from somewhere else.
    Bearer(Bearer),
    /// Nothing known.
    Unknown,
}

/// Where a token comes from. The scope that a registry names is left aside: what this store needs is known here, and a
/// registry must not be able to ask for more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server's URL, unchecked.
    pub(crate) realm: Option<String>,
    /// What the registry is called there.
    pub(crate) service: Option<String>,
}

/// Why a header is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadChallenge {
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLong,
    #[error("it has more than {CHALLENGES_MAX} challenges, or {PARAMETERS_MAX} parameters in one")]
    TooMany,
    #[error("it holds bytes that are not printable ASCII")]
    NotText,
    #[error("a quoted string in it has no end")]
    OpenQuote,
    #[error("a parameter in it is given twice")]
    Twice,
    #[error("it breaks the grammar")]
    Grammar,
}

/// One challenge: a scheme and its parameters, or the one word that some schemes have instead (which no known one needs).
#[derive(Debug)]
struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

/// Returns what can be done about the headers of an answer. A token wins, as with other clients: a password that buys one
/// is not sent with every request.
pub(crate) fn read<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Result<Asked, BadChallenge> {
    let mut challenges = Vec::new();
    let mut bytes_left = BYTES_MAX;
    for header in headers {
        bytes_left = bytes_left.checked_sub(header.len()).ok_or(BadChallenge::TooLong)?;
        let text = std::str::from_utf8(header).map_err(|_| BadChallenge::NotText)?;
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return Err(BadChallenge::NotText);
        }
        parse(text, &mut challenges)?;
    }
    if let Some(at) = challenges.iter().position(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer")) {
        let mut challenge = challenges.swap_remove(at);
        return Ok(Asked::Bearer(Bearer { realm: challenge.take("realm"), service: challenge.take("service") }));
    }
    let basic = challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"));
    Ok(if basic { Asked::Basic } else { Asked::Unknown })
}

impl Challenge<'_> {
    fn take(&mut self, name: &str) -> Option<String> {
        let found = self.parameters.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| std::mem::take(value))
    }
}

fn parse<'a>(text: &'a str, challenges: &mut Vec<Challenge<'a>>) -> Result<(), BadChallenge> {
    let mut cursor = Cursor { rest: text };
    loop {
        cursor.skip_commas();
        if cursor.rest.is_empty() {
            return Ok(());
        }
        if challenges.len() == CHALLENGES_MAX {
            return Err(BadChallenge::TooMany);
        }
        challenges.push(cursor.challenge()?);
    }
}

/// What is left of a header.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn challenge(&mut self) -> Result<Challenge<'a>, BadChallenge> {
        let scheme = self.token().ok_or(BadChallenge::Grammar)?;
        let mut parameters = Vec::new();
        let spaced = self.rest.starts_with(' ');
        self.skip_blanks();
        if spaced && !self.token68() {
            while let Some(name) = self.parameter_name() {
                if parameters.len() == PARAMETERS_MAX {
                    return Err(BadChallenge::TooMany);
                }
                if parameters.iter().any(|(known, _): &(&str, String)| known.eq_ignore_ascii_case(name)) {
                    return Err(BadChallenge::Twice);
                }
                parameters.push((name, self.value()?));
                self.end_of_element()?;
                // A comma is between two parameters as well as between two challenges.
                self.skip_commas();
            }
            if !parameters.is_empty() {
                return Ok(Challenge { scheme, parameters });
            }
        }
        self.end_of_element()?;
        Ok(Challenge { scheme, parameters })
    }

    /// Takes `name =` if that comes next; a scheme has no `=`.
    fn parameter_name(&mut self) -> Option<&'a str> {
        let before = self.rest;
        let name = self.token();
        self.skip_blanks();
        if name.is_some() && self.eat('=') {
            self.skip_blanks();
            return name;
        }
        self.rest = before;
        None
    }

    fn value(&mut self) -> Result<String, BadChallenge> {
        if !self.eat('"') {
            return self.token().map(str::to_owned).ok_or(BadChallenge::Grammar);
        }
        let mut value = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().ok_or(BadChallenge::OpenQuote)? {
                '"' => break,
                '\\' => value.push(chars.next().ok_or(BadChallenge::OpenQuote)?),
                plain => value.push(plain),
            }
        }
        self.rest = chars.as_str();
        Ok(value)
    }

    /// Takes the word that some schemes have in place of parameters, if it is all of this element.
    fn token68(&mut self) -> bool {
        let word = self.rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        let after = word.trim_start_matches('=').trim_start_matches([' ', '\t']);
        let taken = word.len() < self.rest.len() && (after.is_empty() || after.starts_with(','));
        if taken {
            self.rest = after;
        }
        taken
    }

    fn token(&mut self) -> Option<&'a str> {
        let after = self.rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
        let (token, after) = self.rest.split_at(self.rest.len() - after.len());
        self.rest = after;
        (!token.is_empty()).then_some(token)
    }

    fn end_of_element(&mut self) -> Result<(), BadChallenge> {
        self.skip_blanks();
        if self.rest.is_empty() || self.rest.starts_with(',') { Ok(()) } else { Err(BadChallenge::Grammar) }
    }

    fn eat(&mut self, expected: char) -> bool {
        let after = self.rest.strip_prefix(expected);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn skip_commas(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: Result<Asked, BadChallenge>) {
        assert_eq!(read(headers.iter().map(|header| header.as_bytes())), expected, "{headers:?}");
    }

    fn bearer(realm: &str, service: Option<&str>) -> Result<Asked, BadChallenge> {
        Ok(Asked::Bearer(Bearer { realm: Some(realm.to_owned()), service: service.map(str::to_owned) }))
    }

    #[test]
    fn challenges_of_known_registries_are_understood() {
        for (header, expected) in [
            ("Basic realm=\"a\"", Ok(Asked::Basic)),
            ("basic", Ok(Asked::Basic)),
            ("basic realm=\"a, Bearer b=\\\"c\"", Ok(Asked::Basic)),
            (
                "Bearer realm=\"https://x/token\",service=\"y\",scope=\"repository:a:pull,push\"",
                bearer("https://x/token", Some("y")),
            ),
            (
                "BEARER  Realm = \"https://x/?a=b\" , error=\"invalid_token\",\tSERVICE=y.z",
                bearer("https://x/?a=b", Some("y.z")),
            ),
            ("Bearer realm=\"x\", Basic realm=\"y\"", bearer("x", None)),
            ("Basic realm=\"y\", Bearer realm=\"x\"", bearer("x", None)),
            ("Negotiate, Basic", Ok(Asked::Basic)),
            ("Negotiate abc==, Bearer realm=x", bearer("x", None)),
            ("Bearer", Ok(Asked::Bearer(Bearer::default()))),
            ("Bearer realm=\"a\\\"b\\\\c\"", bearer("a\"b\\c", None)),
            ("Digest qop=\"auth, Basic\"", Ok(Asked::Unknown)),
            ("", Ok(Asked::Unknown)),
            (" ,,, ", Ok(Asked::Unknown)),
        ] {
            check(&[header], expected);
        }
        check(&["Basic realm=\"y\"", "Bearer realm=\"x\""], bearer("x", None));
        check(&["Basic realm=\"y\"", "Digest a=b"], Ok(Asked::Basic));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        use BadChallenge::*;
        for (header, expected) in [
            ("\"", Grammar),
            ("=", Grammar),
            ("Bearer realm=\"x", OpenQuote),
            ("Bearer realm=\"x\\", OpenQuote),
            ("Bearer realm=\"x\"service=\"y\"", Grammar),
            ("Bearer realm=\"x\" service=\"y\"", Grammar),
            ("Bearer realm=\"x\" Basic realm=\"y\"", Grammar),
            ("Bearer realm=https://x/token", Grammar),
            ("Bearer a b", Grammar),
            ("Bearer\trealm=\"x\"", Grammar),
            ("Bearer realm=\"x\",realm=\"y\"", Twice),
            ("Bearer realm=\"x\",REALM=\"y\"", Twice),
            ("Bearer realm=\"\u{7f}\"", NotText),
            ("Bearer realm=\"\u{e4}\"", NotText),
        ] {
            check(&[header], Err(expected));
        }
        // One bad header spoils the answer: it can't be known what it was meant to say.
        check(&["Basic", "Bearer realm=\""], Err(OpenQuote));
    }

    #[test]
    fn bounds_hold_at_their_edge() {
        let long = |bytes: usize| format!("Bearer realm=\"{}\"", "x".repeat(bytes - 15));
        assert!(read([long(BYTES_MAX).as_bytes()].into_iter()).is_ok());
        check(&[&long(BYTES_MAX + 1)], Err(BadChallenge::TooLong));
        check(&[&long(BYTES_MAX), "x"], Err(BadChallenge::TooLong));
        check(&[&["Basic"; CHALLENGES_MAX].join(",")], Ok(Asked::Basic));
        check(&[&["Basic"; CHALLENGES_MAX + 1].join(",")], Err(BadChallenge::TooMany));
        let parameters = |n: usize| (0..n).map(|i| format!("p{i}=v")).collect::<Vec<_>>().join(",");
        check(&[&format!("Basic {}", parameters(PARAMETERS_MAX))], Ok(Asked::Basic));
        check(&[&format!("Basic {}", parameters(PARAMETERS_MAX + 1))], Err(BadChallenge::TooMany));
    }

    proptest::proptest! {
        #[test]
        fn quoted_value_means_itself(realm in "[ -~]{0,60}", service in "[ -~]{0,60}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Digest a=b, Bearer realm=\"{}\" ,service=\"{}\"", quote(&realm), quote(&service));
            let expected = Asked::Bearer(Bearer { realm: Some(realm), service: Some(service) });
            proptest::prop_assert_eq!(read([header.as_bytes()].into_iter()), Ok(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = read([bytes.as_slice()].into_iter());
        }

        #[test]
        fn any_punctuation_is_read_or_refused(text in "(Bearer|Basic|a|=|,| |\"|\\\\|realm){0,20}") {
            let _ = read([text.as_bytes()].into_iter());
        }
    }
}
