//! Ginkgo's JSON report, as far as it matters here.

use crate::report::{CAUSE_CHARS_MAX, Report, Spec, State};
use serde::Deserialize;

/// Reads a report.
pub fn parse(json: &[u8]) -> Result<Report, String> {
    let suites: Vec<Suite> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let entries = suites.into_iter().flat_map(|suite| suite.spec_reports.unwrap_or_default());
    // A failed set-up of the whole suite is an entry too, and must not be lost.
    let counted = entries.filter(|entry| entry.leaf_node_type == "It" || entry.is_failed());
    Ok(Report::of(counted.map(Spec::from).collect()))
}

/// Takes the one sentence that matters out of a failure: what the server said, without the dump of the Go value after it.
fn cause(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let line = words.join(" ");
    let said = line.split_once("rpc error: code = ").map_or(line.as_str(), |(_, said)| said);
    let sentence = said.split(" { s: ").next().unwrap_or(said).split(" Unexpected error: ").next().unwrap_or(said);
    if sentence.is_empty() { "not chosen".to_owned() } else { sentence.chars().take(CAUSE_CHARS_MAX).collect() }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_text: String,
    leaf_node_type: String,
    state: String,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(default)]
    message: String,
}

impl Entry {
    fn is_failed(&self) -> bool {
        !matches!(self.state.as_str(), "passed" | "skipped" | "pending")
    }
}

impl From<Entry> for Spec {
    fn from(entry: Entry) -> Self {
        let state = match entry.state.as_str() {
            "passed" => State::Passed,
            "skipped" | "pending" => State::Skipped,
            _ => State::Failed,
        };
        let mut words = entry.container_hierarchy_texts.unwrap_or_default();
        words.push(if entry.leaf_node_text.is_empty() { entry.leaf_node_type } else { entry.leaf_node_text });
        let cause = cause(&entry.failure.map(|failure| failure.message).unwrap_or_default());
        Self { name: words.join(" "), state, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_read_and_failed_setup_counts() {
        let json = br#"[{"SpecReports": [
            {"ContainerHierarchyTexts": ["[k8s.io] A", "b"], "LeafNodeType": "It", "LeafNodeText": "works", "State": "passed"},
            {"ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "", "State": "failed",
             "Failure": {"Message": "no\n  socket"}},
            {"ContainerHierarchyTexts": [], "LeafNodeType": "ReportAfterSuite", "LeafNodeText": "", "State": "passed"},
            {"ContainerHierarchyTexts": [], "LeafNodeType": "It", "LeafNodeText": "later", "State": "skipped"}]}]"#;
        let report = parse(json).unwrap();
        assert_eq!(report.with(State::Passed).next().unwrap().name, "[k8s.io] A b works");
        let failed = report.with(State::Failed).next().unwrap();
        assert_eq!((failed.name.as_str(), failed.cause.as_str()), ("BeforeSuite", "no socket"));
        assert_eq!(report.with(State::Skipped).count(), 1);
        assert!(parse(b"").is_err());
    }

    #[test]
    fn cause_is_what_the_server_said() {
        for (message, expected) in [
            (
                "x Unexpected error:\n <*s | 0x1>: rpc error: code = Unimplemented desc = not built { s: {",
                "Unimplemented desc = not built",
            ),
            ("plain  words", "plain words"),
            ("", "not chosen"),
        ] {
            assert_eq!(cause(message), expected);
        }
    }
}
