//! A container as `GET /containers/json` shows it.

use super::network::Addressed;
use super::state::{Status, status_text};
use crate::annex::Annex;
use crate::http::version::Version;
use crate::time::unix;
use orlop_model::Timestamp;
use orlop_usecases::{ContainerView, SandboxView};
use serde_json::{Value, json};

/// What a container takes of the disk, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Its writable layer.
    pub(crate) written: u64,
    /// That and its image.
    pub(crate) all: u64,
}

/// Returns a line of the list.
pub(crate) fn shown(
    view: &ContainerView,
    annex: &Annex,
    sandbox: Option<&SandboxView>,
    sizes: Option<Sizes>,
    version: Version,
    now: Timestamp,
) -> Value {
    let id = view.asked.id.as_str();
    let addressed = Addressed::new(annex, sandbox);
    let mut line = json!({
        "Id": id,
        "Names": [format!("/{}", annex.name)],
        "Image": annex.config.image,
        "ImageID": view.asked.spec.image.to_string(),
        "Command": command(&annex.command),
        "Created": unix(view.asked.created_at),
        "Ports": addressed.port_list(),
        "Labels": annex.config.labels.clone().unwrap_or_default(),
        "State": Status::of(&view.state, annex).word(),
        "Status": status_text(&view.state, annex, now),
        "HostConfig": { "NetworkMode": annex.host_config.network_mode },
        "NetworkSettings": { "Networks": addressed.endpoints(id) },
        "Mounts": super::inspect::mounts(view, annex),
    });
    if let Some(sizes) = sizes {
        line["SizeRw"] = json!(sizes.written);
        line["SizeRootFs"] = json!(sizes.all);
    }
    if version >= Version::v1(46)
        && let Some(annotations) = &annex.host_config.annotations
    {
        line["HostConfig"]["Annotations"] = json!(annotations);
    }
    line
}

/// Joins a command; a word with a space in it is put between quotes.
fn command(words: &[String]) -> String {
    let quoted = |(at, word): (usize, &String)| {
        if at > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_line() {
        let words = |words: &[&str]| command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["sh"]), "sh");
        assert_eq!(words(&["sh", "-c", "echo hi"]), "sh -c 'echo hi'");
    }
}
