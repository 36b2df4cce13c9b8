//! Status. Polled every few seconds.

use crate::Config;
use crate::proto::{
    RuntimeCondition, RuntimeFeatures, RuntimeHandler, RuntimeHandlerFeatures, RuntimeStatus, StatusRequest,
    StatusResponse,
};
use crate::service::Cri;
use crate::translate::mount::RecursiveReadOnly;
use crate::translate::sandbox::HANDLERS;
use crate::translate::users::UserNamespaces;
use orlop_model::Failure;
use orlop_usecases::Health;
use serde_json::json;
use std::collections::BTreeMap;

/// Says whether pods can be run and attached now, and what they can have.
pub(crate) async fn status(cri: &Cri, request: StatusRequest) -> Result<StatusResponse, Failure> {
    let health = cri.facade.health().await;
    let mut info = BTreeMap::new();
    if request.verbose {
        info.insert("info".to_owned(), json!({"version": env!("CARGO_PKG_VERSION")}).to_string());
    }
    Ok(response(&health, cri.config, info))
}

fn response(health: &Health, config: Config, info: BTreeMap<String, String>) -> StatusResponse {
    let features = RuntimeHandlerFeatures {
        recursive_read_only_mounts: config.recursive_read_only == RecursiveReadOnly::Possible,
        user_namespaces: config.user_namespaces == UserNamespaces::Possible,
    };
    let handler = |name: &str| RuntimeHandler { name: name.to_owned(), features: Some(features) };
    StatusResponse {
        status: Some(RuntimeStatus {
            conditions: vec![
                condition("RuntimeReady", "RuntimeNotReady", &health.runtime),
                condition("NetworkReady", "NetworkPluginNotReady", &health.network),
            ],
        }),
        info,
        runtime_handlers: HANDLERS.map(handler).into(),
        features: Some(RuntimeFeatures {
            supplemental_groups_policy: true,
            user_namespaces_host_network: false,
            mount_options: false,
        }),
    }
}

fn condition(name: &str, reason: &str, part: &Result<(), Failure>) -> RuntimeCondition {
    let (reason, message) = match part {
        Ok(()) => (String::new(), String::new()),
        Err(failure) => (reason.to_owned(), failure.message.clone()),
    };
    RuntimeCondition { r#type: name.to_owned(), status: part.is_ok(), reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::ErrorKind;

    #[test]
    fn a_part_that_is_not_ready_says_why() {
        let failed = Err(Failure::new(ErrorKind::Unavailable, "no bridge"));
        let health = Health { runtime: Ok(()), network: failed };
        let config =
            Config { recursive_read_only: RecursiveReadOnly::Possible, user_namespaces: UserNamespaces::Impossible };
        let response = response(&health, config, BTreeMap::new());
        let conditions = response.status.unwrap().conditions;
        assert_eq!((conditions[0].r#type.as_str(), conditions[0].status), ("RuntimeReady", true));
        let network = &conditions[1];
        assert_eq!((network.r#type.as_str(), network.status), ("NetworkReady", false));
        assert_eq!((network.reason.as_str(), network.message.as_str()), ("NetworkPluginNotReady", "no bridge"));
        let default = response.runtime_handlers.iter().find(|handler| handler.name.is_empty()).unwrap();
        assert!(default.features.unwrap().recursive_read_only_mounts);
        assert!(!default.features.unwrap().user_namespaces);
    }
}
