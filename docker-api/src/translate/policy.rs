//! When a container is started again, or removed by itself.

use super::Result;
use crate::dto::host_config::{HostConfig, RestartPolicy};
use crate::http::error::ApiError;

/// Checks a restart policy.
pub(crate) fn check(policy: &RestartPolicy) -> Result<()> {
    let bad = |why: &str| Err(ApiError::bad(format!("invalid restart policy: {why}")));
    let count = policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" if count != 0 => {
            let negative = if count < 0 { " and cannot be negative" } else { "" };
            bad(&format!("maximum retry count can only be used with 'on-failure'{negative}"))
        }
        "on-failure" if count < 0 => bad("maximum retry count cannot be negative"),
        "always" | "unless-stopped" | "no" | "on-failure" => Ok(()),
        "" if count != 0 => bad("maximum retry count can only be used with 'on-failure'"),
        "" => Ok(()),
        other => {
            bad(&format!("unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"))
        }
    }
}

/// Checks that one that is started again is not one that goes.
pub(crate) fn check_removal(config: &HostConfig) -> Result<()> {
    let restarts = !matches!(config.restart_policy.name.as_str(), "" | "no");
    if config.auto_remove && restarts {
        return Err(ApiError::bad("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_known_or_refused() {
        let policy = |name: &str, maximum_retry_count| RestartPolicy { name: name.to_owned(), maximum_retry_count };
        for good in
            [policy("", 0), policy("no", 0), policy("always", 0), policy("unless-stopped", 0), policy("on-failure", 3)]
        {
            assert!(check(&good).is_ok(), "{good:?}");
        }
        for bad in [policy("sometimes", 0), policy("always", 1), policy("on-failure", -1), policy("", 2)] {
            assert!(check(&bad).unwrap_err().message().starts_with("invalid restart policy: "), "{bad:?}");
        }
    }

    #[test]
    fn one_that_goes_is_not_started_again() {
        let mut config = HostConfig { auto_remove: true, ..HostConfig::default() };
        assert!(check_removal(&config).is_ok());
        config.restart_policy.name = "always".to_owned();
        assert!(check_removal(&config).is_err());
    }
}
