//! Names: what makes a pod or container the same one when it is asked for again.

use super::{Refused, Result, quoted};
use crate::proto::{ContainerMetadata, PodSandboxMetadata};
use orlop_model::{NaturalKey, SandboxId};

/// Longest name, in bytes: that of a Kubernetes object, and below the 255 of a file's name.
const NAME_BYTES_MAX: usize = 253;

/// Checks a pod's names and returns its key. The kubelet builds log folders from them, so none may mean a path.
pub(crate) fn sandbox_key(metadata: Option<&PodSandboxMetadata>) -> Result<NaturalKey> {
    let metadata = metadata.ok_or_else(|| Refused::invalid("metadata", "is missing; give name, uid and namespace"))?;
    name("metadata.name", &metadata.name)?;
    name("metadata.uid", &metadata.uid)?;
    name("metadata.namespace", &metadata.namespace)?;
    // None holds a slash, so no two different pods have the same key.
    let PodSandboxMetadata { name, uid, namespace, attempt } = metadata;
    Ok(NaturalKey(format!("{namespace}/{name}/{uid}/{attempt}")))
}

/// Checks a container's name and returns its key.
pub(crate) fn container_key(sandbox: &SandboxId, metadata: Option<&ContainerMetadata>) -> Result<NaturalKey> {
    let metadata = metadata.ok_or_else(|| Refused::invalid("metadata", "is missing; give a name"))?;
    name("metadata.name", &metadata.name)?;
    Ok(NaturalKey(format!("{sandbox}/{}/{}", metadata.name, metadata.attempt)))
}

fn name(field: &str, text: &str) -> Result<()> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > NAME_BYTES_MAX {
        format!("{} has {} bytes, at most {NAME_BYTES_MAX} are allowed", quoted(text), text.len())
    } else if text.contains('/') || text.contains("..") || text == "." {
        format!("{} could mean a path; leave out \"/\" and \"..\"", quoted(text))
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, ';' | '=')) {
        // ';' and '=' separate the arguments of network plugins.
        format!("{} holds a blank, a control character, ';' or '='", quoted(text))
    } else {
        return Ok(());
    };
    Err(Refused::invalid(field, problem))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn pod(name: &str, uid: &str, namespace: &str) -> PodSandboxMetadata {
        PodSandboxMetadata { name: name.into(), uid: uid.into(), namespace: namespace.into(), attempt: 3 }
    }

    #[test]
    fn a_key_holds_every_name() {
        let key = sandbox_key(Some(&pod("web", "1-2", "default"))).unwrap();
        assert_eq!(key.0, "default/web/1-2/3");
        let sandbox = SandboxId::parse("s").unwrap();
        let key = container_key(&sandbox, Some(&ContainerMetadata { name: "c".into(), attempt: 0 })).unwrap();
        assert_eq!(key.0, "s/c/0");
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        check_refused(sandbox_key(None), InvalidArgument, &["metadata", "missing"]);
        check_refused(container_key(&SandboxId::parse("s").unwrap(), None), InvalidArgument, &["metadata", "missing"]);
        check_refused(sandbox_key(Some(&pod("", "u", "n"))), InvalidArgument, &["metadata.name", "empty"]);
        check_refused(sandbox_key(Some(&pod("n", "", "n"))), InvalidArgument, &["metadata.uid", "empty"]);
        check_refused(sandbox_key(Some(&pod("n", "u", ""))), InvalidArgument, &["metadata.namespace", "empty"]);
        for bad in ["../../etc", "a/b", "..", ".", "a\nb", "a b", "a;K8S_POD_NAME=b", "a\0", &"x".repeat(254)] {
            check_refused(sandbox_key(Some(&pod(bad, "u", "n"))), InvalidArgument, &["metadata.name"]);
            let metadata = ContainerMetadata { name: bad.into(), attempt: 0 };
            let sandbox = SandboxId::parse("s").unwrap();
            check_refused(container_key(&sandbox, Some(&metadata)), InvalidArgument, &["metadata.name"]);
        }
    }
}
