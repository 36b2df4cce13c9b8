//! RuntimeConfig.

use crate::proto::{CgroupDriver, LinuxRuntimeConfiguration, RuntimeConfigRequest, RuntimeConfigResponse};
use crate::service::Cri;
use orlop_model::Failure;

/// Tells the kubelet how to name cgroups. Must not change while it runs.
pub(crate) async fn runtime_config(_: &Cri, _: RuntimeConfigRequest) -> Result<RuntimeConfigResponse, Failure> {
    let cgroup_driver = CgroupDriver::Cgroupfs as i32;
    Ok(RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver }) })
}
