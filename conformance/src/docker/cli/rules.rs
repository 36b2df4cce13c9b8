//! The rules through which recorded and seen output is put, so that what differs between two honest runs doesn't count.
//!
//! All of them, in the order in which they are applied. A rule hides a value, never that it is there.

use regex::Regex;
use std::path::Path;

/// One rule: what it hides, what it looks like, and what stands there instead.
struct Rule {
    name: &'static str,
    pattern: &'static str,
    becomes: &'static str,
}

/// How many there may be.
const RULES_MAX: usize = 15;

/// The rules.
const RULES: [Rule; 13] = [
    // Which programs passed an error on is the daemon's own affair; what the last one says is not.
    Rule {
        name: "who passed an error on",
        pattern: r"(failed to create task for container|failed to create shim task|OCI runtime \w+ failed|runc \w+ failed|unable to start container process|error during container init): ",
        becomes: "",
    },
    // How far a layer is: which of these lines there are depends on how fast it comes.
    Rule {
        name: "progress of a layer",
        pattern: r"(?m)^[0-9a-f]{12}: (Pulling fs layer|Waiting|Verifying Checksum|Download complete|Downloading.*|Extracting.*)\n",
        becomes: "",
    },
    Rule { name: "digests", pattern: r"sha256:[0-9a-f]{12,64}\b", becomes: "sha256:<digest>" },
    Rule { name: "ids", pattern: r"\b[0-9a-f]{64}\b", becomes: "<id>" },
    Rule { name: "short ids", pattern: r"\b[0-9a-f]{12}\b", becomes: "<short id>" },
    Rule {
        name: "points in time",
        pattern: r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( UTC)?)?",
        becomes: "<time>",
    },
    Rule {
        name: "ages",
        pattern: r"\b(Less than a second|About an? (minute|hour)|\d+ (second|minute|hour|day|week|month|year)s?)\b",
        becomes: "<age>",
    },
    Rule {
        name: "addresses",
        pattern: r"\b(10|172|192)(\.\d{1,3}){3}\b|\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b",
        becomes: "<address>",
    },
    // A port that the daemon chose; those of the script have four digits.
    Rule { name: "chosen ports", pattern: r":\d{5}\b", becomes: ":<port>" },
    Rule { name: "sizes", pattern: r"\b\d+(\.\d+)?([kKMGT]i?)?B\b", becomes: "<size>" },
    Rule { name: "shares", pattern: r"\b\d+\.\d+%", becomes: "<share>" },
    // Columns are as wide as what stands in them.
    Rule { name: "widths of columns", pattern: r" {2,}", becomes: "  " },
    Rule { name: "blanks at the end of a line", pattern: r"(?m) +$", becomes: "" },
];

/// The rules, ready to be applied.
pub struct Rules {
    /// Where the suite's folder is, which has another name each time.
    folder: String,
    rules: Vec<(Regex, &'static str)>,
}

// === impl Rules ===

impl Rules {
    /// Makes the rules for a run in a folder.
    pub fn of(folder: &Path) -> Self {
        let regex = |rule: &Rule| Regex::new(rule.pattern).unwrap_or_else(|e| panic!("the rule on {}: {e}", rule.name));
        Self {
            folder: folder.display().to_string(),
            rules: RULES.iter().map(|rule| (regex(rule), rule.becomes)).collect(),
        }
    }

    /// Puts a text through all of them.
    pub fn apply(&self, text: &str) -> String {
        let text = text.replace(&self.folder, FOLDER);
        self.rules.iter().fold(text, |text, (regex, becomes)| regex.replace_all(&text, *becomes).into_owned())
    }
}

/// What stands for the suite's folder: the one rule that is no pattern.
const FOLDER: &str = "<folder>";
const _: () = assert!(RULES.len() < RULES_MAX, "the folder is a rule, too");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_hides_its_value_and_nothing_else() {
        let rules = Rules::of(Path::new("/tmp/suite-1"));
        let id = "0123456789ab".repeat(6)[..64].to_owned();
        for (text, expected) in [
            (format!("{id}\n"), "<id>\n"),
            (format!("sha256:{id} 0123456789ab"), "sha256:<digest> <short id>"),
            ("2026-11-22T04:24:44.348738067Z x".to_owned(), "<time> x"),
            ("2026-11-22 04:24:44 +0000 UTC".to_owned(), "<time>"),
            ("Exited (3) 2 seconds ago".to_owned(), "Exited (3) <age> ago"),
            ("Up Less than a second (healthy)".to_owned(), "Up <age> (healthy)"),
            ("172.17.0.2 127.0.0.1 0.0.0.0:8080->80/tcp".to_owned(), "<address> 127.0.0.1 0.0.0.0:8080->80/tcp"),
            ("0.0.0.0:32768->80/tcp".to_owned(), "0.0.0.0:<port>->80/tcp"),
            ("02:42:ac:11:00:02".to_owned(), "<address>"),
            ("556KiB / 23.54GiB 4.2MB 0B".to_owned(), "<size> / <size> <size> <size>"),
            ("0.12%".to_owned(), "<share>"),
            ("ID      NAME   \n".to_owned(), "ID  NAME\n"),
            ("/tmp/suite-1/x".to_owned(), "<folder>/x"),
            (
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc \
                 create failed: unable to start container process: error during container init: exec: \"x\""
                    .to_owned(),
                "exec: \"x\"",
            ),
            ("0123456789ab: Pulling fs layer\n0123456789ab: Pull complete\n".to_owned(), "<short id>: Pull complete\n"),
            ("exit 137, not 404".to_owned(), "exit 137, not 404"),
        ] {
            assert_eq!(rules.apply(&text), expected);
        }
    }
}
