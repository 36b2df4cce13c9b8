//! The loopback plugin: a pod reaches itself.

use crate::error::{Error, Result};
use orlop_netlink::{LinkName, RouteSocket, link};

/// Brings `lo` up; the kernel gives it 127.0.0.1 and ::1 by itself.
///
/// # Errors
/// When the kernel refuses.
pub fn up(pod: &mut RouteSocket) -> Result<()> {
    let lo = LinkName::parse("lo").expect("lo is a link name");
    pod.perform(&[link::set_up(&lo)]).map_err(Error::netlink("set up the pod's loopback"))
}
