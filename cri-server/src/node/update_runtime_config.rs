//! UpdateRuntimeConfig: the kubelet tells the addresses that the cluster gave this node's pods.

use crate::proto::{UpdateRuntimeConfigRequest, UpdateRuntimeConfigResponse};
use crate::service::Cri;
use crate::translate::{Refused, quoted};
use orlop_model::Failure;
use std::net::IpAddr;
use tracing::info;

/// Most subnets of a node: one for each family.
const SUBNETS_MAX: usize = 2;

/// Accepts what the kubelet says of pods' addresses. Nothing follows from it: the subnet of pods is a setting of orlopd, which
/// must not move under pods that have addresses of it.
pub(crate) async fn update(
    _: &Cri,
    request: UpdateRuntimeConfigRequest,
) -> Result<UpdateRuntimeConfigResponse, Failure> {
    let network = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default();
    let subnets = subnets(&network.pod_cidr)
        .map_err(|refused| Failure::from(refused).while_trying("update the runtime's config"))?;
    if !subnets.is_empty() {
        info!(
            pod_cidr = network.pod_cidr,
            "told of pods' addresses; not used, --subnet of orlopd says where they come from"
        );
    }
    Ok(UpdateRuntimeConfigResponse {})
}

/// Checks a list such as `10.88.0.0/16,fd00::/64`; nothing at all is none.
fn subnets(pod_cidr: &str) -> Result<Vec<(IpAddr, u8)>, Refused> {
    const FIELD: &str = "runtime_config.network_config.pod_cidr";
    if pod_cidr.is_empty() {
        return Ok(Vec::new());
    }
    let parse = |text: &str| {
        let bad = || Refused::invalid(FIELD, format!("{} is not a subnet like 10.88.0.0/16", quoted(text)));
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix <= bits { Ok((address, prefix)) } else { Err(bad()) }
    };
    let subnets = pod_cidr.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    let one_family =
        |subnets: &[(IpAddr, u8)]| subnets.iter().all(|(address, _)| address.is_ipv4() == subnets[0].0.is_ipv4());
    if subnets.len() > SUBNETS_MAX || (subnets.len() == SUBNETS_MAX && one_family(&subnets)) {
        return Err(Refused::invalid(FIELD, "takes one subnet, or one of each family"));
    }
    Ok(subnets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::tests::check_refused;
    use orlop_model::ErrorKind::InvalidArgument;

    #[test]
    fn a_node_has_one_subnet_or_one_of_each_family() {
        for (text, count) in
            [("", 0), ("10.88.0.0/16", 1), ("fd00::/64", 1), ("10.88.0.0/16,fd00::/64", 2), ("fd00::/64,10.0.0.0/8", 2)]
        {
            assert_eq!(subnets(text).unwrap().len(), count, "{text}");
        }
        for bad in ["x", "10.88.0.0", "10.88.0.0/", "10.88.0.0/33", "fd00::/129", "10.0.0.0/8,", "10.0.0.0/8 ", "a/8"] {
            check_refused(subnets(bad), InvalidArgument, &["pod_cidr", "not a subnet"]);
        }
        for bad in ["10.0.0.0/8,11.0.0.0/8", "10.0.0.0/8,fd00::/64,11.0.0.0/8"] {
            check_refused(subnets(bad), InvalidArgument, &["pod_cidr", "each family"]);
        }
    }
}
