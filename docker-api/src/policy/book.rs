//! Rules and what is kept, in the annex: the restart policy, `AutoRemove` and `Healthcheck` of the request, and `kept`.

use super::health::HealthCheck;
use super::kept::{Book, Kept, Rules};
use super::restart::Restart;
use crate::annex::Annex;
use crate::dto::config::{Config, Health};
use crate::dto::host_config::RestartPolicy;
use orlop_usecases::ContainerView;
use serde_json::Value;
use std::time::Duration;

/// What applies where a health check says nothing.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
const START_INTERVAL: Duration = Duration::from_secs(5);

/// How the annexes of this facade are read and written.
pub(crate) const BOOK: Book = Book { of, read, write };

fn of(view: &ContainerView) -> (Rules, Kept) {
    let annex = Annex::read(view);
    (rules(&annex), annex.kept.clone())
}

fn read(bytes: &[u8]) -> (Rules, Kept) {
    let annex = Annex::parse(bytes);
    (rules(&annex), annex.kept)
}

/// Only `kept` is replaced: what a later daemon has added to an annex stays, and one that can't be read is left alone.
fn write(bytes: &[u8], kept: Kept) -> Vec<u8> {
    let Ok(Value::Object(mut annex)) = serde_json::from_slice(bytes) else { return bytes.to_vec() };
    let kept = serde_json::to_value(kept).expect("no map in it has keys that are no text");
    annex.insert("kept".to_owned(), kept);
    Value::Object(annex).to_string().into_bytes()
}

/// Returns what an annex asks for.
pub(crate) fn rules(annex: &Annex) -> Rules {
    Rules {
        restart: restart(&annex.host_config.restart_policy),
        auto_remove: annex.host_config.auto_remove,
        own_stop_signal: !annex.config.stop_signal.is_empty(),
        health: annex.config.healthcheck.as_ref().and_then(|health| check(health, &annex.config)),
    }
}

fn restart(policy: &RestartPolicy) -> Restart {
    match policy.name.as_str() {
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => Restart::OnFailure { max: u32::try_from(policy.maximum_retry_count).unwrap_or(0) },
        // Others were refused when it was created.
        _ => Restart::No,
    }
}

fn check(health: &Health, config: &Config) -> Option<HealthCheck> {
    let (form, rest) = health.test.split_first()?;
    let command: Vec<String> = match form.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => shell(config).into_iter().chain(rest.first().cloned()).collect(),
        _ => return None,
    };
    if command.is_empty() {
        return None;
    }
    let time = |ns: i64, default| match u64::try_from(ns) {
        Ok(0) | Err(_) => default,
        Ok(ns) => Duration::from_nanos(ns),
    };
    Some(HealthCheck {
        command,
        interval: time(health.interval, INTERVAL),
        timeout: time(health.timeout, TIMEOUT),
        retries: u32::try_from(health.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
        start_period: time(health.start_period, Duration::ZERO),
        start_interval: time(health.start_interval, START_INTERVAL),
    })
}

fn shell(config: &Config) -> Vec<String> {
    let own = config.shell.clone().filter(|shell| !shell.is_empty());
    own.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::super::kept::Wanted;
    use super::*;
    use serde_json::json;

    fn annex() -> Vec<u8> {
        let health = json!({ "Test": ["CMD-SHELL", "curl localhost"], "Interval": 1_000_000_000_i64, "Retries": 2 });
        let annex = json!({
            "name": "web",
            "config": { "Healthcheck": health },
            "host_config": { "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 4 } },
            "of a later daemon": 1,
        });
        annex.to_string().into_bytes()
    }

    #[test]
    fn rules_are_what_the_request_said_with_the_defaults() {
        let (rules, kept) = read(&annex());
        assert_eq!((rules.restart, rules.auto_remove, kept), (Restart::OnFailure { max: 4 }, false, Kept::default()));
        let health = rules.health.unwrap();
        assert_eq!(health.command, ["/bin/sh", "-c", "curl localhost"]);
        assert_eq!((health.interval, health.timeout, health.retries), (Duration::from_secs(1), TIMEOUT, 2));
        assert_eq!((health.start_period, health.start_interval), (Duration::ZERO, START_INTERVAL));
        for none in [json!(["NONE"]), json!([]), json!(["CMD"])] {
            let bytes = json!({ "config": { "Healthcheck": { "Test": none } } }).to_string();
            assert_eq!(read(bytes.as_bytes()).0.health, None, "{bytes}");
        }
    }

    #[test]
    fn only_what_is_kept_is_replaced() {
        let kept = Kept { wanted: Wanted::Run, restarts: 3, ..Kept::default() };
        let next = write(&annex(), kept.clone());
        assert_eq!(read(&next).1, kept);
        let (mut before, mut after): (Value, Value) =
            (serde_json::from_slice(&annex()).unwrap(), serde_json::from_slice(&next).unwrap());
        for annex in [&mut before, &mut after] {
            annex.as_object_mut().unwrap().remove("kept");
        }
        assert_eq!(before, after);
        assert_eq!(write(b"not json", Kept::default()), b"not json");
    }
}
