//! `bridge`, `host` and `none`, as clients see them.

use crate::app::App;
use orlop_model::sandbox_state::SandboxState;
use serde_json::{Value, json};

/// A network that is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Bridge,
    Host,
    None,
}

impl Network {
    pub(crate) const ALL: [Self; 3] = [Self::Bridge, Self::Host, Self::None];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }

    pub(crate) fn driver(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        }
    }

    /// Returns its id: the same on every node, since there is nothing about it to tell apart.
    pub(crate) fn id(self) -> String {
        let digit = match self {
            Self::Bridge => "b41d6e0000000000",
            Self::Host => "4057000000000000",
            Self::None => "0e00000000000000",
        };
        digit.repeat(4)
    }

    /// Finds one by name, id or a beginning of it.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let named = Self::ALL.into_iter().find(|network| network.name() == text);
        named.or_else(|| Self::ALL.into_iter().find(|network| !text.is_empty() && network.id().starts_with(text)))
    }

    /// Returns it as lists show it.
    pub(crate) fn shown(self, app: &App) -> Value {
        let ipam = match self {
            Self::Bridge => json!({ "Driver": "default", "Options": null, "Config": app.config.bridge.ipam() }),
            Self::Host | Self::None => json!({ "Driver": "default", "Options": null, "Config": null }),
        };
        let options = match self {
            Self::Bridge => json!({
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.enable_icc": "true",
                "com.docker.network.bridge.enable_ip_masquerade": "true",
                "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                "com.docker.network.bridge.name": app.config.bridge.link,
                "com.docker.network.driver.mtu": "1500",
            }),
            Self::Host | Self::None => json!({}),
        };
        json!({
            "Name": self.name(),
            "Id": self.id(),
            "Created": crate::time::rfc3339(app.began),
            "Scope": "local",
            "Driver": self.driver(),
            "EnableIPv4": true,
            "EnableIPv6": false,
            "IPAM": ipam,
            "Internal": false,
            "Attachable": false,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": {},
            "Options": options,
            "Labels": {},
        })
    }

    /// Returns who is on it, by id.
    pub(crate) fn containers(self, app: &App) -> Value {
        let views = app.facade.containers();
        let on = views.iter().filter_map(|view| {
            let annex = crate::annex::Annex::read(view);
            if annex.network() != Some(self) {
                return None;
            }
            let sandbox = app.facade.find_sandbox(view.asked.spec.sandbox.as_str()).ok()?;
            let SandboxState::Ready { attachments, .. } = &sandbox.state else { return None };
            let address = attachments.first().and_then(|attachment| attachment.addresses.first());
            let prefix = app.config.bridge.prefix;
            let end = json!({
                "Name": annex.name,
                "EndpointID": view.asked.id.as_str(),
                "MacAddress": "",
                "IPv4Address": address.map(|address| format!("{address}/{prefix}")).unwrap_or_default(),
                "IPv6Address": "",
            });
            Some((view.asked.id.as_str().to_owned(), end))
        });
        Value::Object(on.collect())
    }
}
