//! How a container wants to be on its networks.

use crate::http::fields::{Field, Kind, honoured, not_built};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fields of `NetworkingConfig`.
pub(crate) const NETWORKING: &[Field] = &[honoured("EndpointsConfig", Kind::ObjectMap(ENDPOINT))];

/// Fields of `EndpointSettings`. What an endpoint became is said by inspect, and ignored in a request as dockerd does.
const ENDPOINT: &[Field] = &[
    not_built("IPAMConfig", Kind::Any),
    not_built("Links", Kind::Texts),
    honoured("MacAddress", Kind::Text),
    not_built("Aliases", Kind::Texts),
    not_built("DriverOpts", Kind::TextMap),
    not_built("GwPriority", Kind::Number),
    honoured("NetworkID", Kind::Text),
    honoured("EndpointID", Kind::Text),
    honoured("Gateway", Kind::Text),
    honoured("IPAddress", Kind::Text),
    honoured("IPPrefixLen", Kind::Number),
    honoured("IPv6Gateway", Kind::Text),
    honoured("GlobalIPv6Address", Kind::Text),
    honoured("GlobalIPv6PrefixLen", Kind::Number),
    honoured("DNSNames", Kind::Texts),
];

/// Networks asked for, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkingConfig {
    pub(crate) endpoints_config: BTreeMap<String, Endpoint>,
}

/// One network asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Endpoint {
    pub(crate) mac_address: String,
}
