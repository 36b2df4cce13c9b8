//! `POST /containers/{id}/exec`

use crate::dto::exec::{EXEC, ExecRequest};
use crate::http::body::{self, Asked};
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json_with};
use crate::http::server::Call;
use crate::stream::detach::DetachKeys;
use hyper::StatusCode;
use orlop_model::ports::ExecOverrides;
use serde_json::json;

pub(crate) async fn answer(call: Call) -> Answered {
    let name = call.name().to_owned();
    let Call { app, request, .. } = call;
    let (head, body) = request.into_parts();
    let asked: Asked<ExecRequest> = body::json(&head.headers, body, "ExecOptions", EXEC).await?;
    app.metrics.unknown.inc_by(asked.unknown);
    let asked = asked.value.unwrap_or_default();
    if asked.cmd.is_empty() {
        return Err(ApiError::bad("No exec command specified"));
    }
    if !asked.working_dir.is_empty() && !asked.working_dir.starts_with('/') {
        return Err(ApiError::bad(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            asked.working_dir
        )));
    }
    let nul = |word: &String| word.contains('\0');
    if asked.cmd.iter().chain(&asked.env).any(nul) || nul(&asked.user) || nul(&asked.working_dir) {
        return Err(ApiError::bad(
            "a NUL character in the command, the environment, the user or the working directory",
        ));
    }
    DetachKeys::parse(&asked.detach_keys)?;
    let found = super::running(&app, &name)?;
    // Nothing else of it can be wrong in a way that is known before it is started.
    if !asked.user.is_empty() {
        let overrides = ExecOverrides { user: asked.user.clone(), ..ExecOverrides::default() };
        app.facade.check_exec(found.id(), &asked.cmd, &overrides).await?;
    }
    let id = app.facade.fresh_id().as_str().to_owned();
    let command = asked.cmd.join(" ");
    let created = app.execs.create(id.clone(), found.id().clone(), asked);
    if created.is_none() {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many programs are running in containers; retry later",
        ));
    }
    app.tell_of(&found, &format!("exec_create: {command}"), &[("execID", &id)]);
    json_with(StatusCode::CREATED, &json!({ "Id": id }))
}
