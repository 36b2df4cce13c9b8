//! `GET /networks`

use super::predefined::Network;
use crate::http::filters::Filters;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

pub(crate) fn answer(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, FILTERS)?;
    // None of them is anyone's own, and none can be left over.
    let custom = |kind: &str| kind == "builtin";
    let dangling = filters.flag("dangling")?;
    let fits = |network: &Network| {
        filters.fits("name", |name| network.name().contains(name))
            && filters.fits("id", |id| network.id().starts_with(id))
            && filters.fits("driver", |driver| network.driver() == driver)
            && filters.fits("scope", |scope| scope == "local")
            && filters.fits("type", custom)
            && filters.labels_fit("label", |_| None)
            && dangling != Some(true)
    };
    let all: Vec<_> = Network::ALL.into_iter().filter(fits).map(|network| network.shown(&call.app)).collect();
    json(&all)
}
