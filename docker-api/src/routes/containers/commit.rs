//! `POST /commit`: an image of what a container is now.

use super::find::{self, Found};
use crate::app::App;
use crate::dto::config::{CREATE, Config, CreateRequest};
use crate::http::body::{self, Asked};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::http::reply::{Answered, json_with};
use crate::http::server::Call;
use crate::translate::complete;
use hyper::StatusCode;
use orlop_model::ImageId;
use orlop_model::container_state::ContainerState;
use orlop_model::image::Commit;
use orlop_model::reference::{Reference, Version};
use serde_json::json;
use tracing::warn;

pub(crate) async fn answer(call: Call) -> Answered {
    let Call { app, query, request, .. } = call;
    let found = find::container(&app, query.text("container"))?;
    let name = name(query.text("repo"), query.text("tag"))?;
    let (head, body) = request.into_parts();
    let asked: Asked<CreateRequest> = body::json(&head.headers, body, "ContainerConfig", CREATE).await?;
    app.metrics.unknown.inc_by(asked.unknown);
    let config = config(asked.value.unwrap_or_default().config, &found.annex.config);
    let wanted = Commit {
        container: found.id().clone(),
        name: name.as_ref().map(ToString::to_string),
        owner: crate::app::namespace(),
        config_json: json!(config).to_string(),
        author: query.text("author").to_owned(),
        comment: query.text("comment").to_owned(),
        created: crate::time::rfc3339(crate::time::now()),
        created_by: found.annex.command.join(" "),
    };
    let id = made(&app, &found, &query, &wanted).await?;
    let reference = name.map(|name| name.familiar()).unwrap_or_default();
    let more = [("comment", wanted.comment.as_str()), ("imageID", &id.to_string()), ("imageRef", &reference)];
    app.tell_of(&found, "commit", &more);
    json_with(StatusCode::CREATED, &json!({ "Id": id.to_string() }))
}

/// Makes the image; what runs is frozen meanwhile, unless that is not wanted.
async fn made(app: &App, found: &Found, query: &Query, wanted: &Commit) -> Result<ImageId, ApiError> {
    let freezes = query.flag_or("pause", true) && matches!(found.view.state, ContainerState::Running(_));
    if !freezes {
        return Ok(app.facade.images().commit(wanted).await?);
    }
    let _hold = app.policies.freeze_for_commit(found.id()).await?;
    let made = app.facade.images().commit(wanted).await;
    // Whatever became of it. One that has ended meanwhile is frozen no more.
    if let Err(failure) = app.policies.thaw_after_commit(found.id()).await {
        warn!(container = %found.id(), error = %failure, "a container could not be thawed after a commit");
    }
    Ok(made?)
}

fn name(repo: &str, tag: &str) -> Result<Option<Reference>, ApiError> {
    let invalid = || ApiError::bad("invalid reference format");
    let text = match (repo, tag) {
        ("", _) => return Ok(None),
        (repo, "") => repo.to_owned(),
        (repo, tag) => format!("{repo}:{tag}"),
    };
    let reference = Reference::parse(&text).map_err(|_| invalid())?;
    match reference.version() {
        Version::Tag(_) => Ok(Some(reference)),
        Version::Digest(_) => Err(ApiError::bad("cannot use digest reference")),
    }
}

/// Returns the settings of the new image: those asked for, and the container's. What is a container's own stays with it.
fn config(mut asked: Config, container: &Config) -> Config {
    complete::with_image(&mut asked, container);
    Config {
        hostname: String::new(),
        domainname: String::new(),
        mac_address: String::new(),
        image: container.image.clone(),
        stop_timeout: None,
        network_disabled: false,
        ..asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_or_not() {
        assert_eq!(name("", "x").unwrap(), None);
        assert_eq!(name("mine", "1").unwrap().unwrap().familiar(), "mine:1");
        assert_eq!(name("mine", "").unwrap().unwrap().familiar(), "mine:latest");
        for bad in [("UPPER", ""), ("a", "x y")] {
            assert_eq!(name(bad.0, bad.1).unwrap_err().message(), "invalid reference format");
        }
    }

    #[test]
    fn an_image_has_the_containers_settings_and_those_asked_for() {
        let words = |text: &str| Some(vec![text.to_owned()]);
        let container = Config { hostname: "box".into(), cmd: words("old"), env: words("A=1"), ..Config::default() };
        let made = config(Config { cmd: words("new"), ..Config::default() }, &container);
        assert_eq!((made.cmd, made.env, made.hostname.as_str()), (words("new"), words("A=1"), ""));
    }
}
