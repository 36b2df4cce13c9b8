//! `POST /containers/{id}/attach`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::Answered;
use crate::http::server::Call;
use crate::life::Life;
use crate::logs::file::Streams;
use crate::stream::attach::{Left, OpenLog, Session};
use crate::stream::client;
use crate::stream::detach::DetachKeys;
use crate::stream::frame::Framing;
use orlop_model::container::Stdin;
use orlop_model::container_state::ContainerState;
use std::sync::Arc;

pub(crate) fn answer(call: Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let query = &call.query;
    let keys = DetachKeys::parse(query.text("detachKeys"))?;
    if matches!(found.view.state, ContainerState::Frozen(_)) {
        let message = format!("container {} is paused, unpause the container before attach", found.id());
        return Err(ApiError::conflict(message));
    }
    let (logs, stream) = (query.flag("logs"), query.flag("stream"));
    let wanted = Streams { stdout: query.flag("stdout"), stderr: query.flag("stderr") };
    let process = &found.view.asked.spec.process;
    let tty = found.annex.config.tty;
    let stdin = query.flag("stdin") && stream && process.stdin != Stdin::Null;
    let framing = Framing::of(tty);
    let log = OpenLog::open(found.view.asked.spec.log.as_ref());
    let log = log.map_err(|wrong| ApiError::internal(format!("open the log of container {}: {wrong}", found.id())))?;
    let (reply, opened, gone) = client::open(call.request, framing.media_type(call.version));
    let session = Session {
        facade: call.app.facade.clone(),
        wanted,
        stdin,
        framing,
        logs,
        stream,
        detach: (stdin && tty).then_some(keys),
        log,
        // Whoever leaves a terminal leaves it open.
        stdin_mode: if stdin && !tty { process.stdin } else { Stdin::Null },
        // From before the answer: the client starts the container when it has it.
        life: Life::watch(&call.app.facade, found.id()),
        gone,
    };
    call.app.tell_of(&found, "attach", &[]);
    let app = Arc::clone(&call.app);
    // Ends with the client or with the container's run.
    tokio::spawn(async move {
        match session.run(opened).await {
            Left::Ended => {}
            Left::Detached => app.tell_of(&found, "detach", &[]),
        }
    });
    Ok(reply)
}
