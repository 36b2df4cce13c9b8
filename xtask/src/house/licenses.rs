//! Licenses, bans and sources of everything that is linked or built, by the lists in deny.toml.

use cargo_metadata::Metadata;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// What deny.toml says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policy {
    licenses: BTreeSet<String>,
    bans: Vec<(String, String)>,
    registries: BTreeSet<String>,
}

impl Policy {
    /// Reads deny.toml. A key that isn't checked here is refused: it would only look checked.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|e| format!("deny.toml: {e}"))?;
        let mut policy = Self::default();
        for (section, body) in &table {
            for (key, value) in body.as_table().into_iter().flatten() {
                match (section.as_str(), key.as_str()) {
                    ("licenses", "allow") => policy.licenses = strings(value),
                    ("bans", "deny") => policy.bans = bans(value),
                    ("sources", "allow-registry") => policy.registries = strings(value),
                    (section, key) => return Err(format!("deny.toml: {section}.{key} is not checked by xtask")),
                }
            }
        }
        Ok(policy)
    }

    /// Returns every package that breaks the policy, in words.
    pub fn broken(&self, metadata: &Metadata) -> Vec<String> {
        let mut broken = Vec::new();
        for package in &metadata.packages {
            let (name, version) = (&package.name, &package.version);
            if let Some((_, reason)) = self.bans.iter().find(|(banned, _)| banned == name.as_str()) {
                broken.push(format!("{name} is banned: {reason}"));
            }
            match &package.license {
                Some(license) if self.allows(license) => (),
                Some(license) => broken.push(format!("{name} {version}: license {license} is not allowed")),
                None => broken.push(format!("{name} {version} names no license")),
            }
            let source = package.source.as_ref().map(|source| source.repr.trim_start_matches("registry+").to_owned());
            if source.as_ref().is_some_and(|source| !self.registries.contains(source)) {
                broken.push(format!("{name} {version} comes from {}", source.unwrap_or_default()));
            }
        }
        broken
    }

    /// Says whether a license expression can be met. SPDX specification, annex D; `/` is the old way to write OR.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = words.as_slice();
        let met = self.any(&mut rest);
        met && rest.is_empty()
    }

    fn any(&self, words: &mut &[&str]) -> bool {
        let mut met = self.all(words);
        while let Some(("OR", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
            *words = rest;
            met |= self.all(words);
        }
        met
    }

    fn all(&self, words: &mut &[&str]) -> bool {
        let mut met = self.one(words);
        while let Some(("AND", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
            *words = rest;
            met &= self.one(words);
        }
        met
    }

    fn one(&self, words: &mut &[&str]) -> bool {
        let Some((first, rest)) = words.split_first() else { return false };
        *words = rest;
        if *first == "(" {
            let met = self.any(words);
            // A bracket that is never closed meets nothing.
            let Some((")", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) else { return false };
            *words = rest;
            return met;
        }
        let mut license = (*first).to_owned();
        if let ["WITH", exception, rest @ ..] = *words {
            license = format!("{license} WITH {exception}");
            *words = rest;
        }
        self.licenses.contains(&license)
    }
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn bans(value: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    value.as_array().into_iter().flatten().map(|entry| (text(entry, "name"), text(entry, "reason"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{metadata, workspace};

    #[test]
    fn every_package_keeps_the_policy() {
        let text = std::fs::read_to_string(workspace().join("deny.toml")).unwrap();
        let broken = Policy::parse(&text).unwrap().broken(&metadata());
        assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    }

    #[test]
    fn license_expressions_are_understood() {
        let policy = Policy::parse("[licenses]\nallow = ['MIT', 'Zlib', 'Apache-2.0 WITH LLVM-exception']").unwrap();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only/MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("(GPL-3.0-only OR MIT) AND Zlib", true),
            ("GPL-3.0-only OR MIT AND Zlib", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("(MIT", false),
            ("MIT)", false),
            ("MIT MIT", false),
            ("", false),
        ] {
            assert_eq!(policy.allows(expression), expected, "{expression}");
        }
    }

    #[test]
    fn key_that_is_not_checked_is_refused() {
        assert!(Policy::parse("[advisories]\nignore = []").is_err());
        assert!(Policy::parse("not toml").is_err());
    }
}
