//! A request completed by its image and by the defaults: what inspect shows, and what is done.

use super::limits;
use crate::dto::config::{Config, CreateRequest};
use orlop_model::ContainerId;
use orlop_model::container::{MASKED_PATHS, READONLY_PATHS};
use orlop_model::image::Image;
use serde::Deserialize;

/// Digits of an id that lists and host names show.
pub(crate) const SHORT_ID: usize = 12;
/// Bytes of `/dev/shm` when nothing is said.
pub(crate) const SHM_BYTES: i64 = 64 << 20;

/// The part of an image's config that is a container's default.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    config: Option<Config>,
}

/// Returns the defaults that an image brings; nothing when its document is not what it should be.
pub(crate) fn config_of(image: &Image) -> Config {
    let document: Document = serde_json::from_str(&image.config_json).unwrap_or_default();
    document.config.unwrap_or_default()
}

/// Fills in what the request leaves to its image.
pub(crate) fn with_image(config: &mut Config, image: &Config) {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    for (port, nothing) in &image.exposed_ports {
        config.exposed_ports.entry(port.clone()).or_insert(*nothing);
    }
    let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    let own: Vec<String> = config.env.iter().flatten().map(name).collect();
    let inherited = image.env.iter().flatten().filter(|variable| !own.contains(&name(variable))).cloned();
    let env: Vec<String> = config.env.iter().flatten().cloned().chain(inherited).collect();
    config.env = Some(env);
    for (label, value) in image.labels.iter().flatten() {
        config.labels.get_or_insert_default().entry(label.clone()).or_insert_with(|| value.clone());
    }
    config.labels.get_or_insert_default();
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // One empty word says that there is none, not even the image's.
    if config.entrypoint.as_deref() == Some(&[String::new()]) {
        config.entrypoint = None;
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    for target in image.volumes.iter().flatten().map(|(target, _)| target) {
        config.volumes.get_or_insert_default().entry(target.clone()).or_default();
    }
    if config.on_build.is_none() {
        config.on_build.clone_from(&image.on_build);
    }
    with_health(config, image);
}

/// What the image says about health, where the request says nothing; each of them by itself.
fn with_health(config: &mut Config, image: &Config) {
    let Some(image) = &image.healthcheck else { return };
    let Some(own) = &mut config.healthcheck else {
        config.healthcheck = Some(image.clone());
        return;
    };
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    let fill = |own: &mut i64, image: i64| {
        if *own == 0 {
            *own = image;
        }
    };
    fill(&mut own.interval, image.interval);
    fill(&mut own.timeout, image.timeout);
    fill(&mut own.start_period, image.start_period);
    fill(&mut own.start_interval, image.start_interval);
    fill(&mut own.retries, image.retries);
}

/// Fills in the defaults of what neither says.
pub(crate) fn with_defaults(asked: &mut CreateRequest, id: &ContainerId, node: &str) {
    let (config, host) = (&mut asked.config, &mut asked.host_config);
    let fill = |text: &mut String, default: &str| {
        if text.is_empty() {
            default.clone_into(text);
        }
    };
    if config.hostname.is_empty() {
        let of_node = host.network_mode == "host" || host.uts_mode == "host";
        config.hostname = if of_node { node.to_owned() } else { short(id.as_str()).to_owned() };
    }
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.cgroupns_mode, "private");
    fill(&mut host.runtime, if asked.runtime == "runc" { "runc" } else { "orlop" });
    fill(&mut host.restart_policy.name, "no");
    fill(&mut host.log_config.driver, "json-file");
    if host.shm_size == 0 {
        host.shm_size = SHM_BYTES;
    }
    if host.privileged {
        host.masked_paths = None;
        host.readonly_paths = None;
    }
    limits::complete(&mut host.limits);
}

/// Returns the paths that inspect shows as hidden and as read-only.
pub(crate) fn shown_paths(asked: Option<&Vec<String>>, privileged: bool, masked: bool) -> Option<Vec<String>> {
    let default: &[&str] = if masked { &MASKED_PATHS } else { &READONLY_PATHS };
    match asked {
        _ if privileged => None,
        Some(asked) => Some(asked.clone()),
        None => Some(default.iter().map(|path| (*path).to_owned()).collect()),
    }
}

/// Returns the part of an id that people see.
pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn commands_are_the_requests_or_the_images() {
        for (entrypoint, cmd, expected) in [
            (None, None, (words("entry"), words("arg"))),
            (None, words("mine"), (words("entry"), words("mine"))),
            (words("own"), None, (words("own"), None)),
            (words("own"), words("mine"), (words("own"), words("mine"))),
            (Some(vec![String::new()]), words("mine"), (None, words("mine"))),
        ] {
            let image = Config { entrypoint: words("entry"), cmd: words("arg"), ..Config::default() };
            let mut config = Config { entrypoint, cmd, ..Config::default() };
            with_image(&mut config, &image);
            assert_eq!((config.entrypoint, config.cmd), expected);
        }
    }

    #[test]
    fn variables_and_labels_of_the_request_win() {
        let label = |value: &str| Some([("l".to_owned(), value.to_owned())].into());
        let image = Config { env: words("A=1 B=2"), labels: label("image"), ..Config::default() };
        let mut config = Config { env: words("B=3"), labels: label("own"), ..Config::default() };
        with_image(&mut config, &image);
        assert_eq!(config.env, words("B=3 A=1"));
        assert_eq!(config.labels, label("own"));
    }

    #[test]
    fn defaults_are_what_inspect_shows() {
        let id = ContainerId::from_random([0xab; 32]);
        let mut asked = CreateRequest::default();
        with_defaults(&mut asked, &id, "node");
        assert_eq!(
            (asked.config.hostname.as_str(), asked.host_config.network_mode.as_str()),
            ("abababababab", "bridge")
        );
        assert_eq!(asked.host_config.shm_size, SHM_BYTES);
        assert_eq!(asked.host_config.runtime, "orlop");
        asked = CreateRequest { runtime: "runc".into(), ..CreateRequest::default() };
        asked.host_config.network_mode = "host".into();
        with_defaults(&mut asked, &id, "node");
        assert_eq!((asked.config.hostname.as_str(), asked.host_config.runtime.as_str()), ("node", "runc"));
    }
}
