//! Before anything is timed: both sides do the same work. A pod of each answers through the host's port.

use super::side::{POD_PORT, Side, host_port};
use orlop_testkit::wait_for;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Serves one page.
const SERVER: &[&str] = &["sh", "-c", "mkdir /www && echo served > /www/page && exec httpd -f -p 80 -h /www"];
/// Number of the pod: apart from those that are timed.
const NUMBER: u32 = 200_001;
/// The longest until the page is served.
const SERVED_LIMIT: Duration = Duration::from_secs(10);

/// Runs a pod with a web server and asks for its page at the host's port.
pub fn of_host_port(side: &Side) -> io::Result<()> {
    let failed = |e: orlop_testkit::Status| io::Error::other(format!("{}: {e}", side.name()));
    let config = side.networked_pod(NUMBER);
    let pod = side.run_pod(&config).map_err(failed)?;
    let container = side.create(&pod, &config, SERVER).map_err(failed)?;
    side.start(&container).map_err(failed)?;
    let address = bridge_address(side)?;
    let port = u16::try_from(host_port(NUMBER)).map_err(io::Error::other)?;
    let served = || side.ground.http_get(address, port, "/page").ok().filter(|(_, body)| body == "served\n");
    if wait_for(SERVED_LIMIT, served).is_none() {
        let why = format!("{}: port {port} of the host does not lead to port {POD_PORT} of the pod", side.name());
        return Err(io::Error::other(why));
    }
    side.stop_pod(&pod).and_then(|()| side.remove_pod(&pod)).map_err(failed)
}

/// Returns the address of the bridge: the only one of the ground beside the loopback's.
fn bridge_address(side: &Side) -> io::Result<IpAddr> {
    let output = side.ground.command("ip").args(["-4", "-oneline", "address", "show", "scope", "global"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let address = text.split_once(" inet ").and_then(|(_, rest)| rest.split('/').next());
    let address = address.and_then(|address| address.parse().ok());
    address.ok_or_else(|| io::Error::other(format!("{}: no bridge has an address: {text:?}", side.name())))
}
