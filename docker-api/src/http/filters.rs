//! The `filters` parameter: a JSON map in either of its two encodings.

use super::error::ApiError;
use super::query::Query;
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest text of filters.
const BYTES_MAX: usize = 64 << 10;

/// Values wanted, by key. A key's values are alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses the parameter; a key that is not `accepted` is refused.
    pub(crate) fn of(query: &Query, accepted: &[&str]) -> Result<Self, ApiError> {
        let filters = Self::parse(query.text("filters"))?;
        match filters.0.keys().find(|key| !accepted.contains(&key.as_str())) {
            Some(unknown) => Err(ApiError::bad(format!("invalid filter '{unknown}'"))),
            None => Ok(filters),
        }
    }

    /// Reads `{"a":["x"]}` and the older `{"a":{"x":true}}`.
    fn parse(text: &str) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > BYTES_MAX {
            return Err(ApiError::bad(format!("invalid filter: longer than {BYTES_MAX} bytes")));
        }
        let bad = || ApiError::bad("invalid filter");
        let Value::Object(map) = serde_json::from_str(text).map_err(|_| bad())? else { return Err(bad()) };
        let mut all = BTreeMap::new();
        for (key, values) in map {
            let values: Option<Vec<String>> = match values {
                Value::Array(values) => values.into_iter().map(|v| v.as_str().map(str::to_owned)).collect(),
                Value::Object(values) => {
                    let wanted = |(value, is): (String, Value)| is.as_bool().map(|is| is.then_some(value));
                    values
                        .into_iter()
                        .map(wanted)
                        .collect::<Option<Vec<_>>>()
                        .map(|all| all.into_iter().flatten().collect())
                }
                Value::Null => Some(Vec::new()),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            };
            all.insert(key, values.ok_or_else(bad)?);
        }
        Ok(Self(all))
    }

    /// Returns the values of a key; empty when nothing is asked by it.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Says whether anything is asked by this key.
    pub(crate) fn asks(&self, key: &str) -> bool {
        !self.values(key).is_empty()
    }

    /// Says whether nothing is asked by the key, or one of its values fits.
    pub(crate) fn fits(&self, key: &str, one: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| one(value))
    }

    /// The same where every value must fit, as with labels.
    pub(crate) fn fits_all(&self, key: &str, each: impl Fn(&str) -> bool) -> bool {
        self.values(key).iter().all(|value| each(value))
    }

    /// Returns a yes or no asked by a key; one that is neither is refused.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        let mut found = None;
        for value in self.values(key) {
            let truth = match value.to_ascii_lowercase().as_str() {
                "1" | "true" | "t" => true,
                "0" | "false" | "f" => false,
                _ => return Err(ApiError::bad(format!("invalid filter '{key}=[{value}]'"))),
            };
            if found.is_some_and(|before| before != truth) {
                return Err(ApiError::bad(format!("invalid filter '{key}': both true and false")));
            }
            found = Some(truth);
        }
        Ok(found)
    }

    /// Says whether labels fit: every `name` is there, every `name=value` is so.
    pub(crate) fn labels_fit(&self, key: &str, label: impl Fn(&str) -> Option<String>) -> bool {
        self.fits_all(key, |wanted| has_label(wanted, &label))
    }
}

/// Says whether a label is there, with the value when one is given.
pub(crate) fn has_label(wanted: &str, label: impl Fn(&str) -> Option<String>) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => label(name).is_some_and(|there| there == value),
        None => label(wanted).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Filters, ApiError> {
        Filters::parse(text)
    }

    #[test]
    fn both_encodings_mean_the_same() {
        let new = parse(r#"{"label":["a=b","c"]}"#).unwrap();
        assert_eq!(new, parse(r#"{"label":{"a=b":true,"c":true,"d":false}}"#).unwrap());
        assert_eq!(new.values("label"), ["a=b", "c"]);
        assert_eq!(parse("").unwrap(), Filters::default());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in ["[]", "1", "x", r#"{"a":1}"#, r#"{"a":[1]}"#, r#"{"a":{"b":"c"}}"#] {
            assert_eq!(parse(bad).unwrap_err().message(), "invalid filter", "{bad}");
        }
        let query = Query::parse("filters={\"nosuch\":[\"x\"]}").unwrap();
        assert_eq!(Filters::of(&query, &["label"]).unwrap_err().message(), "invalid filter 'nosuch'");
    }

    #[test]
    fn labels_are_all_wanted_with_or_without_a_value() {
        let label = |name: &str| (name == "a").then(|| "b".to_owned());
        for (text, fits) in [
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=b"]}"#, true),
            (r#"{"label":["a=c"]}"#, false),
            (r#"{"label":["a","x"]}"#, false),
            ("{}", true),
        ] {
            assert_eq!(parse(text).unwrap().labels_fit("label", label), fits, "{text}");
        }
    }

    #[test]
    fn flags_are_true_or_false() {
        assert_eq!(parse(r#"{"dangling":["1"]}"#).unwrap().flag("dangling").unwrap(), Some(true));
        assert_eq!(parse(r#"{"dangling":{"false":true}}"#).unwrap().flag("dangling").unwrap(), Some(false));
        assert!(parse(r#"{"dangling":["maybe"]}"#).unwrap().flag("dangling").is_err());
        assert_eq!(parse("{}").unwrap().flag("dangling").unwrap(), None);
    }
}
