//! Query parameters, parsed as dockerd parses them.

use super::error::ApiError;

/// Parameters one request may have; more are not a request anyone writes.
const PARAMETERS_MAX: usize = 512;

/// The parameters of one request, decoded, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part of a URI behind `?`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut all = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if all.len() == PARAMETERS_MAX {
                return Err(ApiError::bad(format!("more than {PARAMETERS_MAX} query parameters")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.push((decode(name, Plus::Space)?, decode(value, Plus::Space)?));
        }
        Ok(Self(all))
    }

    /// Returns every name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// The same, empty when it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Returns every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// Returns a yes or no. dockerd takes everything for yes but these.
    pub(crate) fn flag(&self, name: &str) -> bool {
        truth(self.text(name))
    }

    /// The same where the absence of the parameter means something.
    pub(crate) fn flag_or(&self, name: &str, missing: bool) -> bool {
        self.get(name).map_or(missing, truth)
    }

    /// Returns a number; `None` when it is missing or empty.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad(format!("strconv.Atoi: parsing {text:?}: invalid syntax, in the parameter {name}"))
            }),
        }
    }
}

/// Says whether a text is a yes: everything is but these.
pub(crate) fn truth(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    !matches!(text.as_str(), "" | "0" | "no" | "false" | "none")
}

/// What a plus sign means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    /// A space, as in forms.
    Space,
    /// Itself, as in paths.
    Itself,
}

/// Decodes `%41`.
pub(crate) fn decode(text: &str, plus: Plus) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'%' => {
                let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                bytes.push(byte.ok_or_else(|| ApiError::bad("invalid URL escape in the request"))?);
                rest = &after[2..];
            }
            b'+' if plus == Plus::Space => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::bad("the request's URL holds bytes that are no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_dockerd_reads_them() {
        let query = Query::parse("a=1&b=true&c=True&d&e=0&f=no&g=None&h=FALSE&i=yes").unwrap();
        let yes: Vec<&str> = query.names().filter(|name| query.flag(name)).collect();
        assert_eq!(yes, ["a", "b", "c", "i"]);
        assert!(query.flag_or("missing", true) && !query.flag_or("d", true));
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_refused() {
        let query = Query::parse("a=%7B+%22x%22%7D&a=2").unwrap();
        assert_eq!(query.text("a"), "{ \"x\"}");
        assert_eq!(query.all("a").count(), 2);
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(decode("a+b", Plus::Itself).unwrap(), "a+b");
    }

    #[test]
    fn numbers_are_numbers_or_refused_by_name() {
        let query = Query::parse("t=-1&h=&w=ten").unwrap();
        assert_eq!(query.number("t").unwrap(), Some(-1));
        assert_eq!(query.number("h").unwrap(), None);
        assert!(query.number("w").unwrap_err().message().contains('w'));
    }
}
