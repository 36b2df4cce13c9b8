//! Connects to ports of a sandbox, by sockets that its shim made inside: the daemon never enters its network.

use crate::client::Client;
use crate::config::{ASK_WITHIN, CONNECT_WITHIN};
use crate::error::{Error, Result};
use orlop_model::SandboxId;
use orlop_wire::frame::{Reply, Request};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use tokio::net::TcpSocket;

/// Addresses tried, in the order of the sockets.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Connects to a TCP port on the loopback of a sandbox.
pub(crate) async fn connect(client: &Client, sandbox: &SandboxId, port: u16) -> Result<OwnedFd> {
    let tried = format!("connect to port {port} of sandbox {sandbox}");
    let shim = client.shims.need(sandbox, &tried).await?;
    let answered = shim.ask(tried.clone(), Request::TcpSockets, Vec::new(), ASK_WITHIN).await?;
    if answered.reply != Reply::TcpSockets || answered.slots.is_empty() {
        return Err(Error::Unexpected { tried });
    }
    let mut wrong = Vec::new();
    for (socket, address) in answered.slots.into_iter().zip(LOOPBACK) {
        match tokio::time::timeout(CONNECT_WITHIN, connect_to(socket, SocketAddr::new(address, port))).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => wrong.push(format!("{address}: {error}")),
            Err(_late) => wrong.push(format!("{address}: no answer within {} s", CONNECT_WITHIN.as_secs())),
        }
    }
    Err(Error::Missing(format!("{tried}: {}", wrong.join("; "))))
}

async fn connect_to(socket: OwnedFd, address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = TcpSocket::from_std_stream(TcpStream::from(socket));
    Ok(OwnedFd::from(socket.connect(address).await?.into_std()?))
}
