//! Version.

use crate::proto::{VersionRequest, VersionResponse};
use crate::service::Cri;
use orlop_model::Failure;

/// Version of the kubelet's side of the interface. A kubelet ends when it reads anything else.
const KUBELET_API_VERSION: &str = "0.1.0";

/// Says who answers. Any version may be asked for; there is one.
pub(crate) async fn version(_: &Cri, _: VersionRequest) -> Result<VersionResponse, Failure> {
    Ok(VersionResponse {
        version: KUBELET_API_VERSION.to_owned(),
        runtime_name: "orlop".to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: "v1".to_owned(),
    })
}
