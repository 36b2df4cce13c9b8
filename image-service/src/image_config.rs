//! The config of an image. Pure; written by whoever built the image. image-spec, config.md.

use crate::error::Error;
use crate::manifest::Platform;
use orlop_model::Digest;
use orlop_model::image::{HistoryEntry, ImageConfig, ImageOrigin};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A config, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParsedConfig {
    /// Process settings.
    pub(crate) settings: ImageConfig,
    /// Where the image comes from.
    pub(crate) origin: ImageOrigin,
    /// Digests of the layers as plain tar, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    /// The document, for verbose answers.
    pub(crate) text: String,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    docker_version: Option<String>,
    history: Option<Vec<RawHistory>>,
    config: Option<RawSettings>,
    rootfs: Option<RawRootfs>,
}

/// Every field can be absent or null.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawHistory {
    created: Option<String>,
    created_by: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    empty_layer: Option<bool>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(rename = "type", default)]
    kind: String,
    diff_ids: Option<Vec<String>>,
}

/// Every field can be absent or null.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawSettings {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
}

// === impl ParsedConfig ===

impl ParsedConfig {
    /// Understands the config of a manifest with `layers` layers, for `node`.
    pub(crate) fn parse(digest: &Digest, bytes: Vec<u8>, layers: usize, node: &Platform) -> Result<Self, Error> {
        let corrupt = |why: String| Error::corrupt(digest, why);
        let text = String::from_utf8(bytes).map_err(|_| corrupt("this config is not UTF-8".to_owned()))?;
        let mut raw: Raw =
            serde_json::from_str(&text).map_err(|error| corrupt(format!("it is not an image config: {error}")))?;
        let other = (!raw.os.is_empty() && raw.os != node.os)
            || (!raw.architecture.is_empty() && raw.architecture != node.architecture);
        if other {
            let why = format!(
                "the image is for {}/{}, this node is {}/{}",
                raw.os, raw.architecture, node.os, node.architecture
            );
            return Err(Error::unsupported(digest, why));
        }
        let rootfs = raw.rootfs.take().ok_or_else(|| corrupt("this config has no rootfs".to_owned()))?;
        if rootfs.kind != "layers" {
            return Err(corrupt("the rootfs of this config is not made of layers".to_owned()));
        }
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != layers {
            return Err(corrupt(format!("this config names {} layers, its manifest {layers}", diff_ids.len())));
        }
        let diff_ids = diff_ids.iter().map(|text| Digest::parse(text));
        let diff_ids = diff_ids.collect::<Result<_, _>>().map_err(|error| corrupt(error.to_string()))?;
        let settings = settings(raw.config.take().unwrap_or_default());
        Ok(Self { settings, origin: origin(raw), diff_ids, text })
    }
}

fn origin(raw: Raw) -> ImageOrigin {
    let history = raw.history.unwrap_or_default().into_iter().map(|step| HistoryEntry {
        created: step.created.unwrap_or_default(),
        created_by: step.created_by.unwrap_or_default(),
        author: step.author.unwrap_or_default(),
        comment: step.comment.unwrap_or_default(),
        empty_layer: step.empty_layer.unwrap_or_default(),
    });
    ImageOrigin {
        history: history.collect(),
        created: raw.created.unwrap_or_default(),
        author: raw.author.unwrap_or_default(),
        architecture: raw.architecture,
        variant: raw.variant.unwrap_or_default(),
        os: raw.os,
        comment: raw.comment.unwrap_or_default(),
        docker_version: raw.docker_version.unwrap_or_default(),
    }
}

fn settings(raw: RawSettings) -> ImageConfig {
    ImageConfig {
        entrypoint: raw.entrypoint.unwrap_or_default(),
        cmd: raw.cmd.unwrap_or_default(),
        env: raw.env.unwrap_or_default(),
        working_dir: raw.working_dir.unwrap_or_default(),
        user: raw.user.unwrap_or_default(),
        stop_signal: raw.stop_signal.unwrap_or_default(),
        volumes: raw.volumes.unwrap_or_default().into_keys().collect(),
        labels: raw.labels.unwrap_or_default().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::digest_of;

    fn parse(text: &str, layers: usize) -> Result<ParsedConfig, String> {
        let node = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
        let bytes = text.as_bytes().to_vec();
        ParsedConfig::parse(&digest_of(&bytes), bytes, layers, &node).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_read_and_null_is_nothing() {
        let text = r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]},"config":{
            "Entrypoint":["/e"],"Cmd":null,"Env":["A=b"],"User":"1:2","Volumes":{"/v":{},"/a":null},
            "Labels":{"b":"2","a":"1"},"StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{}}}}"#;
        let found = parse(text, 0).unwrap().settings;
        assert_eq!((found.entrypoint, found.cmd), (vec!["/e".to_owned()], vec![]));
        assert_eq!(found.volumes, ["/a", "/v"]);
        assert_eq!(found.labels, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!((found.user.as_str(), found.stop_signal.as_str()), ("1:2", "SIGQUIT"));
        for config in ["", r#","config":null"#, r#","config":{}"#] {
            let text = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":null}}{config}}}"#);
            assert_eq!(parse(&text, 0).unwrap().settings, ImageConfig::default());
        }
    }

    #[test]
    fn origin_is_told_as_the_builder_wrote_it() {
        let text = r#"{"os":"linux","architecture":"amd64","created":"2024-05-01T12:00:00.5Z","author":null,
            "docker_version":"27.1","rootfs":{"type":"layers","diff_ids":[]},"history":[
            {"created":"2024-05-01T11:00:00Z","created_by":"ADD x /"},{"created_by":"CMD","empty_layer":true,"comment":"c"}]}"#;
        let found = parse(text, 0).unwrap().origin;
        assert_eq!((found.created.as_str(), found.docker_version.as_str()), ("2024-05-01T12:00:00.5Z", "27.1"));
        assert_eq!((found.os.as_str(), found.author.as_str()), ("linux", ""));
        let steps: Vec<_> = found.history.iter().map(|step| (step.created_by.as_str(), step.empty_layer)).collect();
        assert_eq!(steps, [("ADD x /", false), ("CMD", true)]);
        assert_eq!(parse(r#"{"rootfs":{"type":"layers"},"history":null}"#, 0).unwrap().origin, ImageOrigin::default());
    }

    #[test]
    fn configs_that_do_not_fit_are_refused_with_the_reason() {
        for (text, layers, word) in [
            ("", 0, "not an image config"),
            ("{}", 0, "no rootfs"),
            (r#"{"rootfs":{"type":"x","diff_ids":[]}}"#, 0, "not made of layers"),
            (r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#, 1, "names 0 layers, its manifest 1"),
            (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:x"]}}"#, 1, "not a digest"),
            (r#"{"os":"windows","rootfs":{"type":"layers"}}"#, 0, "windows"),
            (r#"{"architecture":"arm64","rootfs":{"type":"layers"}}"#, 0, "arm64"),
            (r#"{"rootfs":{"type":"layers"},"config":{"Env":[1]}}"#, 0, "not an image config"),
        ] {
            let error = parse(text, layers).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(1 << 20), 0).is_err());
    }
}
