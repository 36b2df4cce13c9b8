//! Messages as JSON with the field names of the proto file, for the `info` of verbose answers. Pure.

use crate::schema::{Field, Kind, Many, SCHEMA, Wire, fields_of, varint};
use prost::Message;
use serde_json::{Map, Value};

/// Deepest level that is written; our deepest message has seven.
const DEPTH_MAX: usize = 10;

/// Returns a message as JSON. `name` is its name without the package. Fields left at their default are left out.
pub(crate) fn of_message<M: Message>(name: &str, message: &M) -> Value {
    object(&format!(".runtime.v1.{name}"), &message.encode_to_vec(), 0)
}

fn object(kind: &str, message: &[u8], depth: usize) -> Value {
    let mut object = Map::new();
    if depth > DEPTH_MAX {
        return Value::Object(object);
    }
    for (number, wire) in fields_of(message).unwrap_or_default() {
        let Some(field) = SCHEMA.fields(kind).get(&number) else { continue };
        let slot = object.entry(field.name.as_str()).or_insert(Value::Null);
        match field.many {
            Many::No => *slot = value(field, wire, depth),
            Many::Map => {
                if slot.is_null() {
                    *slot = Value::Object(Map::new());
                }
                if let (Some(map), Wire::Bytes(entry)) = (slot.as_object_mut(), wire) {
                    let (key, value) = entry_of(entry);
                    map.insert(key, value.into());
                }
            }
            Many::Repeated => {
                if slot.is_null() {
                    *slot = Value::Array(Vec::new());
                }
                if let Some(array) = slot.as_array_mut() {
                    match (&field.kind, wire) {
                        (Kind::Signed | Kind::Unsigned | Kind::Enum(_), Wire::Bytes(mut packed)) => {
                            while let Some(number) = varint(&mut packed) {
                                array.push(value(field, Wire::Varint(number), depth));
                            }
                        }
                        (_, wire) => array.push(value(field, wire, depth)),
                    }
                }
            }
        }
    }
    Value::Object(object)
}

fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Value {
    match (&field.kind, wire) {
        (Kind::Message(kind), Wire::Bytes(message)) => object(kind, message, depth + 1),
        (Kind::Text | Kind::Bytes, Wire::Bytes(text)) => String::from_utf8_lossy(text).into(),
        (Kind::Bool, Wire::Varint(number)) => (number != 0).into(),
        (Kind::Signed, Wire::Varint(number)) => number.cast_signed().into(),
        (Kind::Enum(name), Wire::Varint(number)) => {
            SCHEMA.value_name(name, number).map_or_else(|| number.into(), Value::from)
        }
        (_, Wire::Varint(number)) => number.into(),
        (Kind::Double, Wire::Fixed64(bytes)) => f64::from_le_bytes(bytes).into(),
        (_, Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_)) => Value::Null,
    }
}

/// Returns key and value of a map's entry; every map of the CRI is from text to text.
fn entry_of(entry: &[u8]) -> (String, String) {
    let text = |wanted: u32| {
        fields_of(entry).unwrap_or_default().into_iter().find_map(|(number, value)| match value {
            Wire::Bytes(text) if number == wanted => Some(String::from_utf8_lossy(text).into_owned()),
            Wire::Bytes(_) | Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) => None,
        })
    };
    (text(1).unwrap_or_default(), text(2).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        ContainerConfig, ContainerMetadata, KeyValue, LinuxContainerConfig, LinuxContainerResources,
        LinuxContainerSecurityContext, Mount, SecurityProfile,
    };
    use serde_json::json;

    #[test]
    fn a_config_reads_as_it_was_asked_for() {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "web".into(), attempt: 2 }),
            command: vec!["a".into(), String::new()],
            envs: vec![KeyValue { key: "K".into(), value: b"v".to_vec() }],
            mounts: vec![Mount { propagation: 2, readonly: true, ..Default::default() }],
            labels: [("app".to_owned(), "web".to_owned()), ("empty".to_owned(), String::new())].into(),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources { oom_score_adj: -998, ..Default::default() }),
                security_context: Some(LinuxContainerSecurityContext {
                    supplemental_groups: vec![1, 300],
                    seccomp: Some(SecurityProfile { profile_type: 1, ..Default::default() }),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        };
        let expected = json!({
            "metadata": {"name": "web", "attempt": 2},
            "command": ["a", ""],
            "envs": [{"key": "K", "value": "v"}],
            "mounts": [{"readonly": true, "propagation": "PROPAGATION_BIDIRECTIONAL"}],
            "labels": {"app": "web", "empty": ""},
            "linux": {
                "resources": {"oom_score_adj": -998},
                "security_context": {
                    "supplemental_groups": [1, 300],
                    "seccomp": {"profile_type": "Unconfined"},
                },
            },
        });
        assert_eq!(of_message("ContainerConfig", &config), expected);
    }
}
