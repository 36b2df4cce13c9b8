//! What each operation does, one file each.

pub(crate) mod networks;
mod system;
mod volumes;

use crate::http::error::ApiError;
use crate::http::operation::Operation as O;
use crate::http::reply::Answered;
use crate::http::server::Call;

/// Answers a request. No wildcard: an operation of the table is answered here.
pub(crate) async fn answer(operation: O, call: Call) -> Answered {
    match operation {
        O::Ping => system::ping::answer(),
        O::Version => system::version::answer(&call),
        O::Info => system::info::answer(&call).await,
        O::Events => system::events::answer(&call),
        O::Auth => system::auth::answer(call).await,
        O::NetworkList => networks::list::answer(&call),
        O::NetworkInspect => networks::inspect::answer(&call),
        O::NetworkPrune => networks::prune::answer(&call),
        O::VolumeList => volumes::list(&call),
        O::VolumeInspect => volumes::inspect(&call),
        O::VolumePrune => volumes::prune(&call),
        _ => Err(ApiError::not_built(format!("{operation:?}"))),
    }
}
