//! Whether the tables know all that the API's description names: each is honoured, or refused by name, and none is dropped as if
//! nobody knew it.

use super::fields::{Field, Kind, Rule};
use super::operation::{Found, find};
use crate::dto::config::{CREATE, CreateRequest};
use crate::dto::exec::{EXEC, EXEC_START, ExecRequest, ExecStartRequest};
use crate::dto::update::{UPDATE, UpdateRequest};
use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What the API's description names.
const NAMES: &str = include_str!("names.txt");

/// Fields that a request may repeat from an answer, and that dockerd ignores there; and one that only older clients write.
const ANSWERS: [&str; 10] = [
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "DNSNames",
    "Detach",
];

/// One operation of the list.
struct Named {
    method: Method,
    path: String,
    parameters: Vec<String>,
    /// Objects in the body: where each is, and its fields.
    objects: Vec<(String, Vec<String>)>,
}

fn named() -> Vec<Named> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut all: Vec<Named> = Vec::new();
    for line in NAMES.lines().filter(|line| !line.starts_with('#')) {
        if let Some((place, fields)) = line.strip_prefix("    ").and_then(|rest| rest.split_once(": ")) {
            all.last_mut().unwrap().objects.push((place.to_owned(), words(fields)));
            continue;
        }
        let mut line = words(line).into_iter();
        let (method, path) = (line.next().unwrap().parse().unwrap(), line.next().unwrap());
        all.push(Named { method, path, parameters: line.collect(), objects: Vec::new() });
    }
    all
}

impl Named {
    fn find(&self, query: &str) -> Result<Found, super::error::ApiError> {
        find(&self.method, &self.path.replace(['{', '}'], ""), query)
    }

    fn is_built(&self) -> bool {
        self.find("").is_ok()
    }
}

#[test]
fn every_operation_is_there_or_refused_by_name() {
    let all = named();
    assert_eq!(all.len(), 108);
    for one in &all {
        let status = one.find("").map_or_else(|error| error.status().as_u16(), |_| 200);
        // 503 of Swarm, which is not active.
        assert!(matches!(status, 200 | 501 | 503), "{} {}: {status}", one.method, one.path);
    }
    assert!(all.iter().filter(|one| one.is_built()).count() > 40, "most of the list is no operation of the table");
}

#[test]
fn every_parameter_is_honoured_or_refused_by_name() {
    for one in named().iter().filter(|one| one.is_built()) {
        for name in &one.parameters {
            let known = match one.find(&format!("{name}=x")) {
                Ok(found) => found.unknown == 0,
                Err(error) => error.message().contains(name.as_str()),
            };
            assert!(known, "{} {}: {name} is dropped", one.method, one.path);
        }
    }
}

/// Returns the table of the fields of a body.
fn table(path: &str) -> &'static [Field] {
    match path {
        "/containers/create" => CREATE,
        "/containers/{id}/update" => UPDATE,
        "/containers/{id}/exec" => EXEC,
        "/exec/{id}/start" => EXEC_START,
        other => panic!("{other} takes JSON, and has no table"),
    }
}

/// Returns the table of an object in a body; `None` where it is refused as a whole.
fn inner(table: &'static [Field], place: &str) -> Option<&'static [Field]> {
    place.split('.').filter(|name| !name.is_empty()).try_fold(table, |table, name| {
        let field = table.iter().find(|field| field.name == name);
        let field = field.unwrap_or_else(|| panic!("{name} of {place} is in no table"));
        match (&field.kind, field.rule) {
            (Kind::Object(fields) | Kind::Objects(fields), _) => Some(*fields),
            (Kind::ObjectMap(fields) | Kind::ObjectsMap(fields), _) => Some(*fields),
            (Kind::Any, Rule::NotBuilt(_) | Rule::Invalid(..)) => None,
            (kind, rule) => panic!("{place} is an object, and not {kind:?}, {rule:?}"),
        }
    })
}

#[test]
fn every_field_is_honoured_or_refused_by_name() {
    let mut fields = 0;
    for one in named() {
        // What is not there at all refuses the whole request.
        for (place, names) in one.objects.iter().filter(|_| one.is_built()) {
            let Some(table) = inner(table(&one.path), place) else { continue };
            for name in names {
                let known = table.iter().any(|field| field.name == name);
                assert!(known, "{} {}: {place}.{name} is dropped", one.method, one.path);
                fields += 1;
            }
        }
    }
    assert!(fields > 150, "{fields} fields were looked at");
}

/// A value that asks for something, and the same without that; null where nothing is left of it.
type Sample = (Value, Value);

/// Returns values of a kind, for each way in which it can ask for something.
fn samples(kind: &Kind) -> Vec<Sample> {
    let leaf = |value| vec![(value, Value::Null)];
    let each = |table: &[Field], wrap: fn(Value) -> Value| {
        honoured(table).into_iter().map(|(asks, asks_not)| (wrap(asks), wrap(asks_not))).collect()
    };
    match kind {
        Kind::Text => leaf(json!("x")),
        Kind::Number => leaf(json!(7)),
        Kind::Bool => leaf(json!(true)),
        Kind::Texts | Kind::Words => leaf(json!(["x"])),
        Kind::Numbers => leaf(json!([7, 8])),
        Kind::TextMap => leaf(json!({"x": "y"})),
        Kind::Set => leaf(json!({"x": {}})),
        Kind::Object(table) => each(table, |value| value),
        Kind::Objects(table) => each(table, |value| json!([value])),
        Kind::ObjectMap(table) => each(table, |value| json!({"x": value})),
        Kind::ObjectsMap(table) => each(table, |value| json!({"x": [value]})),
        Kind::Any => Vec::new(),
    }
}

/// Returns objects of a table, one for each thing that can be asked for.
fn honoured(table: &[Field]) -> Vec<Sample> {
    let kept = table.iter().filter(|field| matches!(field.rule, Rule::Honoured) && !ANSWERS.contains(&field.name));
    let of_field = |field: &Field| {
        let object = |value: Value| if value.is_null() { json!({}) } else { json!({ field.name: value }) };
        samples(&field.kind).into_iter().map(move |(asks, asks_not)| (object(asks), object(asks_not)))
    };
    kept.flat_map(|field| of_field(field).collect::<Vec<_>>()).collect()
}

/// What a table calls honoured is a field of the type that the request becomes.
fn reaches<T: DeserializeOwned + PartialEq + std::fmt::Debug>(table: &[Field]) {
    let parse = |value: Value| serde_json::from_value::<T>(value).unwrap();
    for (asks, asks_not) in honoured(table) {
        assert_ne!(parse(asks.clone()), parse(asks_not), "{asks} is called honoured, and is lost");
    }
}

#[test]
fn what_is_honoured_is_not_lost_on_the_way() {
    reaches::<CreateRequest>(CREATE);
    reaches::<UpdateRequest>(UPDATE);
    reaches::<ExecRequest>(EXEC);
    reaches::<ExecStartRequest>(EXEC_START);
}
