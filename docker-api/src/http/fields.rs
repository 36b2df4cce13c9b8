//! What may be said in a request, as tables: each field is honoured, or refused by name when it asks for something.
//!
//! A field that no table knows is dropped and counted, as dockerd ignores it. Names are found whatever their case, as Go's
//! decoder finds them, and handed on in the spelling of the table; `null` is the same as nothing.

use super::error::ApiError;
use serde_json::{Map, Value};

/// Depth of objects within objects; the deepest request has five.
const DEPTH_MAX: usize = 16;

/// A field of an object.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) rule: Rule,
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Number,
    Bool,
    /// A list of texts.
    Texts,
    /// A text, or a list of texts: a command.
    Words,
    /// A list of numbers.
    Numbers,
    /// A map of texts.
    TextMap,
    /// A map whose values mean nothing.
    Set,
    Object(&'static [Field]),
    Objects(&'static [Field]),
    ObjectMap(&'static [Field]),
    /// A map of lists of objects.
    ObjectsMap(&'static [Field]),
    /// Looked at by nobody.
    Any,
}

/// What becomes of a field that is set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// It does what it says.
    Honoured,
    /// 501, unless it is empty or one of these, in JSON.
    NotBuilt(&'static [&'static str]),
    /// 400 for this reason, unless it is empty or one of these, in JSON.
    Invalid(&'static [&'static str], &'static str),
}

/// Returns a field that is honoured.
pub(crate) const fn honoured(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, rule: Rule::Honoured }
}

/// Returns a field that is not built yet.
pub(crate) const fn not_built(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, rule: Rule::NotBuilt(&[]) }
}

/// The same, with values that ask for nothing.
pub(crate) const fn not_built_but(name: &'static str, kind: Kind, harmless: &'static [&'static str]) -> Field {
    Field { name, kind, rule: Rule::NotBuilt(harmless) }
}

/// Returns a field that can't be set on Linux.
pub(crate) const fn windows(name: &'static str, kind: Kind, harmless: &'static [&'static str]) -> Field {
    Field { name, kind, rule: Rule::Invalid(harmless, "it is for Windows only") }
}

/// A request checked against its table.
#[derive(Debug)]
pub(crate) struct Sifted {
    /// What is left, in the table's spelling.
    pub(crate) value: Value,
    /// How many fields nobody knows.
    pub(crate) unknown: u64,
}

/// Checks an object against its table.
pub(crate) fn sift(value: Value, type_name: &'static str, table: &'static [Field]) -> Result<Sifted, ApiError> {
    let mut sieve = Sieve { type_name, unknown: 0 };
    let value = sieve.object(value, table, "", 0)?;
    Ok(Sifted { value, unknown: sieve.unknown })
}

/// Says whether a value asks for nothing.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

impl Rule {
    /// Refuses a value that asks for something that is not done.
    pub(crate) fn check(self, name: &str, value: &Value) -> Result<(), ApiError> {
        let harmless = |besides: &[&str]| is_empty(value) || besides.contains(&value.to_string().as_str());
        match self {
            Self::Honoured => Ok(()),
            Self::NotBuilt(besides) if harmless(besides) => Ok(()),
            Self::NotBuilt(_) => Err(ApiError::not_built(name)),
            Self::Invalid(besides, _) if harmless(besides) => Ok(()),
            Self::Invalid(_, why) => Err(ApiError::bad(format!("{name}: {why}"))),
        }
    }
}

/// The state of one check.
struct Sieve {
    type_name: &'static str,
    unknown: u64,
}

impl Sieve {
    fn object(&mut self, value: Value, table: &'static [Field], path: &str, depth: usize) -> Result<Value, ApiError> {
        if depth > DEPTH_MAX {
            return Err(ApiError::bad("invalid JSON: exceeded max depth"));
        }
        let Value::Object(map) = value else { return Err(self.mismatch(&value, path, "struct")) };
        let mut kept = Map::new();
        for (name, value) in map {
            let Some(field) = find(table, &name) else {
                self.unknown += 1;
                continue;
            };
            if value.is_null() {
                continue;
            }
            let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
            let value = self.value(value, &field.kind, &path, depth + 1)?;
            field.rule.check(&path, &value)?;
            kept.insert(field.name.to_owned(), value);
        }
        Ok(Value::Object(kept))
    }

    fn value(&mut self, value: Value, kind: &'static Kind, path: &str, depth: usize) -> Result<Value, ApiError> {
        match (kind, &value) {
            (Kind::Any, _) => Ok(value),
            (Kind::Text, Value::String(_)) | (Kind::Bool, Value::Bool(_)) => Ok(value),
            (Kind::Number, Value::Number(number)) if number.is_i64() => Ok(value),
            (Kind::Number, Value::Number(number)) => {
                let what = format!("number {number}");
                Err(self.mismatched(&what, path, "int64"))
            }
            (Kind::Words, Value::String(word)) => Ok(Value::from(vec![word.clone()])),
            (Kind::Texts | Kind::Words, Value::Array(_)) => self.list(value, &Kind::Text, path, depth),
            (Kind::Numbers, Value::Array(_)) => self.list(value, &Kind::Number, path, depth),
            (Kind::TextMap, Value::Object(_)) => self.map(value, &Kind::Text, path, depth),
            (Kind::Set, Value::Object(_)) => Ok(value),
            (Kind::Object(table), _) => self.object(value, table, path, depth),
            (Kind::Objects(table), Value::Array(_)) => self.objects(value, table, path, depth),
            (Kind::ObjectMap(table), Value::Object(_)) => self.entries(value, |sieve, value| {
                let value = if value.is_null() { Value::Object(Map::new()) } else { value };
                sieve.object(value, table, path, depth + 1)
            }),
            (Kind::ObjectsMap(table), Value::Object(_)) => self.entries(value, |sieve, value| {
                let value = if value.is_null() { Value::Array(Vec::new()) } else { value };
                sieve.objects(value, table, path, depth + 1)
            }),
            (Kind::Text, _) => Err(self.mismatch(&value, path, "string")),
            (Kind::Bool, _) => Err(self.mismatch(&value, path, "bool")),
            (Kind::Number, _) => Err(self.mismatch(&value, path, "int64")),
            (Kind::Texts | Kind::Words, _) => Err(self.mismatch(&value, path, "[]string")),
            (Kind::Numbers, _) => Err(self.mismatch(&value, path, "[]uint")),
            (Kind::TextMap, _) => Err(self.mismatch(&value, path, "map[string]string")),
            (Kind::Set, _) => Err(self.mismatch(&value, path, "map[string]struct {}")),
            (Kind::Objects(_), _) => Err(self.mismatch(&value, path, "[]struct")),
            (Kind::ObjectMap(_) | Kind::ObjectsMap(_), _) => Err(self.mismatch(&value, path, "map[string]struct")),
        }
    }

    fn list(&mut self, value: Value, kind: &'static Kind, path: &str, depth: usize) -> Result<Value, ApiError> {
        let Value::Array(list) = value else { return Ok(value) };
        // Go leaves the zero value where a list says null.
        let all = list
            .into_iter()
            .map(|one| if one.is_null() { Ok(Value::from("")) } else { self.value(one, kind, path, depth) });
        all.collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn map(&mut self, value: Value, kind: &'static Kind, path: &str, depth: usize) -> Result<Value, ApiError> {
        self.entries(
            value,
            |sieve, value| {
                if value.is_null() { Ok(Value::from("")) } else { sieve.value(value, kind, path, depth) }
            },
        )
    }

    fn objects(&mut self, value: Value, table: &'static [Field], path: &str, depth: usize) -> Result<Value, ApiError> {
        let Value::Array(list) = value else { return Err(self.mismatch(&value, path, "[]struct")) };
        let all = list.into_iter().map(|one| self.object(one, table, path, depth + 1));
        all.collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn entries(
        &mut self,
        value: Value,
        mut each: impl FnMut(&mut Self, Value) -> Result<Value, ApiError>,
    ) -> Result<Value, ApiError> {
        let Value::Object(map) = value else { return Ok(value) };
        let all = map.into_iter().map(|(name, value)| each(self, value).map(|value| (name, value)));
        all.collect::<Result<Map<_, _>, _>>().map(Value::Object)
    }

    fn mismatch(&self, value: &Value, path: &str, wanted: &str) -> ApiError {
        let what = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.mismatched(what, path, wanted)
    }

    /// Says it in the words of Go's decoder, which users of dockerd know.
    fn mismatched(&self, what: &str, path: &str, wanted: &str) -> ApiError {
        let name = self.type_name;
        ApiError::bad(if path.is_empty() {
            format!("invalid JSON: json: cannot unmarshal {what} into Go value of type {name}")
        } else {
            format!("invalid JSON: json: cannot unmarshal {what} into Go struct field {name}.{path} of type {wanted}")
        })
    }
}

fn find(table: &'static [Field], name: &str) -> Option<&'static Field> {
    let exact = table.iter().find(|field| field.name == name);
    exact.or_else(|| table.iter().find(|field| field.name.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INNER: &[Field] = &[honoured("Size", Kind::Number)];
    const TABLE: &[Field] = &[
        honoured("Name", Kind::Text),
        honoured("Cmd", Kind::Words),
        honoured("Labels", Kind::TextMap),
        honoured("Inner", Kind::Object(INNER)),
        honoured("Map", Kind::ObjectsMap(INNER)),
        not_built("Links", Kind::Texts),
        not_built_but("Swappiness", Kind::Number, &["-1"]),
        windows("Isolation", Kind::Text, &["\"default\""]),
    ];

    fn of(value: Value) -> Result<Sifted, ApiError> {
        sift(value, "Request", TABLE)
    }

    #[test]
    fn what_is_known_is_kept_and_what_is_not_is_counted() {
        let sifted =
            of(json!({"name": "a", "Cmd": "sh", "Nosuch": 1, "Labels": null, "inner": {"size": 1, "x": 2}})).unwrap();
        assert_eq!(sifted.value, json!({"Name": "a", "Cmd": ["sh"], "Inner": {"Size": 1}}));
        assert_eq!(sifted.unknown, 2);
        assert_eq!(of(json!({"Map": {"80/tcp": null}})).unwrap().value, json!({"Map": {"80/tcp": []}}));
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_only_when_it_asks_for_something() {
        for harmless in
            [json!({"Links": []}), json!({"Links": null}), json!({"Swappiness": -1}), json!({"Isolation": "default"})]
        {
            assert!(of(harmless).is_ok());
        }
        let error = of(json!({"Links": ["a"]})).unwrap_err();
        assert_eq!((error.status().as_u16(), error.message()), (501, "Links is not built yet in orlop"));
        assert_eq!(of(json!({"Swappiness": 3})).unwrap_err().status().as_u16(), 501);
        assert_eq!(of(json!({"Isolation": "hyperv"})).unwrap_err().message(), "Isolation: it is for Windows only");
    }

    #[test]
    fn wrong_types_are_named_in_the_decoders_words() {
        for (value, says) in [
            (json!({"Name": 1}), "cannot unmarshal number into Go struct field Request.Name of type string"),
            (
                json!({"Inner": {"Size": "x"}}),
                "cannot unmarshal string into Go struct field Request.Inner.Size of type int64",
            ),
            (
                json!({"Inner": {"Size": 1.5}}),
                "cannot unmarshal number 1.5 into Go struct field Request.Inner.Size of type int64",
            ),
            (json!({"Labels": {"a": 1}}), "cannot unmarshal number into Go struct field Request.Labels of type string"),
            (json!([]), "cannot unmarshal array into Go value of type Request"),
        ] {
            let error = of(value).unwrap_err();
            assert!(error.message().contains(says), "{}", error.message());
        }
    }
}
