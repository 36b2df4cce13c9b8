//! Names the first field in which two requests differ, for the answer to a name that is in use. Pure.

use crate::schema::{Field, Kind, Many, SCHEMA, Wire, fields_of};
use std::collections::BTreeMap;

/// What is said when there is nothing more exact to say.
const WHOLE: &str = "the request as a whole";

/// Deepest level that is looked into; our deepest message has seven.
const DEPTH_MAX: usize = 10;

/// Names the first field in which two annexes differ, as `linux.security_context.privileged`, `labels[app]` or
/// `mounts[2].host_path`; `None` when they ask for the same.
///
/// Encoding is deterministic, so equal bytes are equal requests and the other way round.
#[must_use]
pub fn difference(existing: &[u8], asked: &[u8]) -> Option<String> {
    if existing == asked {
        return None;
    }
    let request = |annex| match fields_of(annex)?.as_slice() {
        [(1, Wire::Bytes(request))] => Some((".runtime.v1.RunPodSandboxRequest", *request)),
        [(2, Wire::Bytes(request))] => Some((".runtime.v1.CreateContainerRequest", *request)),
        _ => None,
    };
    let named = match (request(existing), request(asked)) {
        (Some((kind, existing)), Some((other, asked))) if kind == other => first(kind, existing, asked, 0),
        _ => None,
    };
    let path = named.unwrap_or_else(|| WHOLE.to_owned());
    // Both requests hold what was asked for in one field; naming it tells nobody anything.
    Some(path.strip_prefix("config.").map(str::to_owned).unwrap_or(path))
}

type Grouped<'a> = BTreeMap<u32, Vec<Wire<'a>>>;

fn grouped(message: &[u8]) -> Option<Grouped<'_>> {
    let mut grouped = Grouped::new();
    for (number, value) in fields_of(message)? {
        grouped.entry(number).or_default().push(value);
    }
    Some(grouped)
}

/// Names the first field in which two messages of a kind differ.
fn first(kind: &str, existing: &[u8], asked: &[u8], depth: usize) -> Option<String> {
    let (existing, asked) = (grouped(existing)?, grouped(asked)?);
    let number = *existing.keys().chain(asked.keys()).filter(|n| existing.get(n) != asked.get(n)).min()?;
    let none = Vec::new();
    let (existing, asked) = (existing.get(&number).unwrap_or(&none), asked.get(&number).unwrap_or(&none));
    let Some(field) = SCHEMA.fields(kind).get(&number) else {
        return Some(format!("field {number}"));
    };
    Some(match field.many {
        Many::No => below(field, field.name.clone(), existing.last(), asked.last(), depth),
        Many::Map => match differing_key(existing, asked) {
            Some(key) => format!("{}[{key}]", field.name),
            None => field.name.clone(),
        },
        Many::Repeated => {
            let index = (0..).find(|&i| existing.get(i) != asked.get(i))?;
            let path = format!("{}[{index}]", field.name);
            below(field, path, existing.get(index), asked.get(index), depth)
        }
    })
}

/// Goes on inside a message, when both have it.
fn below(field: &Field, path: String, existing: Option<&Wire<'_>>, asked: Option<&Wire<'_>>, depth: usize) -> String {
    let (Kind::Message(kind), Some(Wire::Bytes(existing)), Some(Wire::Bytes(asked))) = (&field.kind, existing, asked)
    else {
        return path;
    };
    if depth == DEPTH_MAX {
        return path;
    }
    match first(kind, existing, asked, depth + 1) {
        Some(inner) => format!("{path}.{inner}"),
        None => path,
    }
}

/// Returns the first key whose entry is not in both maps.
fn differing_key(existing: &[Wire<'_>], asked: &[Wire<'_>]) -> Option<String> {
    let keys = existing.iter().filter(|e| !asked.contains(e)).chain(asked.iter().filter(|e| !existing.contains(e)));
    keys.filter_map(|entry| {
        let Wire::Bytes(entry) = entry else { return None };
        let fields = fields_of(entry)?;
        let key = fields.iter().find_map(|(number, value)| match (number, value) {
            (1, Wire::Bytes(key)) => Some(*key),
            _ => None,
        });
        Some(String::from_utf8_lossy(key.unwrap_or_default()).into_owned())
    })
    .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annex::{of_container, of_sandbox};
    use crate::proto::{
        ContainerConfig, CreateContainerRequest, KeyValue, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Mount,
        PodSandboxConfig, RunPodSandboxRequest,
    };
    use proptest::prelude::*;

    fn sandbox(change: impl FnOnce(&mut PodSandboxConfig)) -> Vec<u8> {
        let mut config = PodSandboxConfig::default();
        config.labels.insert("app".into(), "web".into());
        config.linux = Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext::default()),
            ..Default::default()
        });
        change(&mut config);
        of_sandbox(RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() })
    }

    fn container(change: impl FnOnce(&mut ContainerConfig)) -> Vec<u8> {
        let mounts = vec![Mount { host_path: "/a".into(), ..Default::default() }; 3];
        let mut config = ContainerConfig { mounts, ..Default::default() };
        change(&mut config);
        of_container(CreateContainerRequest { config: Some(config), ..Default::default() })
    }

    #[test]
    fn the_same_request_does_not_differ() {
        assert_eq!(difference(&sandbox(|_| ()), &sandbox(|_| ())), None);
        assert_eq!(difference(&container(|_| ()), &container(|_| ())), None);
    }

    #[test]
    fn the_first_differing_field_is_named() {
        let base = sandbox(|_| ());
        for (asked, expected) in [
            (sandbox(|c| c.hostname = "h".into()), "hostname"),
            (sandbox(|c| drop(c.labels.insert("app".into(), "db".into()))), "labels[app]"),
            (sandbox(|c| drop(c.labels.insert("tier".into(), "1".into()))), "labels[tier]"),
            (sandbox(|c| c.labels.clear()), "labels[app]"),
            (sandbox(|c| c.linux = None), "linux"),
            (
                sandbox(|c| c.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = true),
                "linux.security_context.privileged",
            ),
            (of_sandbox(RunPodSandboxRequest { runtime_handler: "x".into(), config: None }), "config"),
            (container(|_| ()), WHOLE),
            (vec![1, 2, 3], WHOLE),
        ] {
            assert_eq!(difference(&base, &asked).as_deref(), Some(expected));
            assert_eq!(difference(&asked, &base).as_deref(), Some(expected));
        }
        let base = container(|_| ());
        for (asked, expected) in [
            (container(|c| c.mounts[2].host_path = "/b".into()), "mounts[2].host_path"),
            (container(|c| drop(c.mounts.pop())), "mounts[2]"),
            (container(|c| c.envs = vec![KeyValue { key: "A".into(), value: vec![0xff] }]), "envs[0]"),
            (container(|c| c.tty = true), "tty"),
        ] {
            assert_eq!(difference(&base, &asked).as_deref(), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn any_two_byte_strings_are_compared(
            a in proptest::collection::vec(any::<u8>(), 0..60),
            b in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            prop_assert_eq!(difference(&a, &b).is_none(), a == b);
        }

        #[test]
        fn damage_inside_a_request_is_still_a_difference(
            bytes in proptest::collection::vec(any::<u8>(), 1..100), at in 0usize..100,
        ) {
            let base = sandbox(|_| ());
            let mut asked = base.clone();
            let at = at % asked.len();
            asked.splice(at..at, bytes);
            prop_assert!(difference(&base, &asked).is_some());
        }
    }
}
