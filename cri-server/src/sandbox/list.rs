//! ListPodSandbox. Asked every second; waits for nothing.

use super::shown;
use crate::proto::{ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox, PodSandboxFilter};
use crate::service::Cri;
use orlop_model::Failure;
use std::collections::BTreeMap;
use tracing::warn;

/// Lists pods, oldest first. A filter that nothing matches is no error.
pub(crate) async fn list(cri: &Cri, request: ListPodSandboxRequest) -> Result<ListPodSandboxResponse, Failure> {
    let filter = request.filter.unwrap_or_default();
    let mut items = Vec::new();
    for view in cri.facade.sandboxes() {
        let request = match cri.annexes.sandbox(&view.asked) {
            Ok(request) => request,
            // One damaged record must not hide all others.
            Err(failure) => {
                warn!(error = %failure, "left out of a list");
                continue;
            }
        };
        let Some(config) = &request.config else { continue };
        let state = shown(&view.state) as i32;
        if !matches(&filter, view.asked.id.as_str(), state, &config.labels) {
            continue;
        }
        items.push(PodSandbox {
            id: view.asked.id.to_string(),
            metadata: config.metadata.clone(),
            state,
            created_at: view.asked.created_at.0,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            runtime_handler: request.runtime_handler.clone(),
        });
    }
    Ok(ListPodSandboxResponse { items })
}

/// Whether all that a filter says is true. An id may be cut short.
fn matches(filter: &PodSandboxFilter, id: &str, state: i32, labels: &BTreeMap<String, String>) -> bool {
    id.starts_with(&filter.id)
        && filter.state.is_none_or(|wanted| wanted.state == state)
        && selects(&filter.label_selector, labels)
}

/// Whether every label of a selector is there with its value.
pub(crate) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::PodSandboxStateValue;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn every_part_of_a_filter_must_match() {
        let there = labels(&[("app", "web"), ("tier", "1")]);
        let state = |state| Some(PodSandboxStateValue { state });
        for (id, wanted, selector, expected) in [
            ("", None, &[][..], true),
            ("ab", None, &[], true),
            ("abc", state(0), &[("app", "web"), ("tier", "1")], true),
            ("b", None, &[], false),
            ("abcd", None, &[], false),
            ("", state(1), &[], false),
            ("", None, &[("app", "db")], false),
            ("", None, &[("other", "web")], false),
            ("ab", state(1), &[("app", "web")], false),
        ] {
            let filter = PodSandboxFilter { id: id.into(), state: wanted, label_selector: labels(selector) };
            assert_eq!(matches(&filter, "abc", 0, &there), expected, "{filter:?}");
        }
    }
}
