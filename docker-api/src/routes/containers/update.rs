//! `POST /containers/{id}/update`

use super::find;
use crate::annex::Annex;
use crate::dto::update::{UPDATE, UpdateRequest};
use crate::http::body::{self, Asked};
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::translate::{limits, policy};
use orlop_model::container::Resources;
use serde_json::json;

pub(crate) async fn answer(call: Call) -> Answered {
    let Call { app, names, request, .. } = call;
    let found = find::container(&app, names.first().map(String::as_str).unwrap_or_default())?;
    let (head, body) = request.into_parts();
    let asked: Asked<UpdateRequest> = body::json(&head.headers, body, "UpdateConfig", UPDATE).await?;
    app.metrics.unknown.inc_by(asked.unknown);
    let asked = asked.value.unwrap_or_default();
    policy::check(&asked.restart_policy)?;
    if found.annex.host_config.auto_remove && !matches!(asked.restart_policy.name.as_str(), "" | "no") {
        return Err(ApiError::conflict(
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ));
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let (change, after) = limits::change(&asked.limits, &found.annex.host_config.limits, cpus)?;
    if change != (Resources { oom_score_adj: None, ..Resources::default() }) {
        app.facade.update_container(found.id(), change).await?;
    }
    let record = |bytes: &[u8]| {
        let mut annex = Annex::parse(bytes);
        annex.host_config.limits = after.clone();
        if !asked.restart_policy.name.is_empty() {
            annex.host_config.restart_policy = asked.restart_policy.clone();
        }
        Some(annex.bytes())
    };
    app.facade.change_annex(found.id(), record).await?;
    app.tell_of(&found, "update", &[]);
    json(&json!({ "Warnings": [] }))
}
