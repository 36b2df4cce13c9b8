//! `DELETE /volumes/{name}`

use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::volumes::missing;
use hyper::StatusCode;

pub(crate) async fn answer(call: &Call) -> Answered {
    let name = call.name().to_owned();
    let Some(volume) = call.app.volumes.find(&name) else {
        // Who forces it wants it not to be there.
        return if call.query.flag("force") { empty(StatusCode::NO_CONTENT) } else { Err(missing(&name)) };
    };
    call.app.blocking(move |app| app.volumes.remove(&name)).await??;
    super::tell_of(&call.app, &volume, "destroy");
    empty(StatusCode::NO_CONTENT)
}
