//! Port-forward: each pair of streams is one connection to a port of a sandbox. Pairs live and end by themselves.

use super::IDLE_MAX;
use super::descriptor::Descriptor;
use super::pairs::{Pair, Pairs, Placed, key, purpose};
use super::spdy::{self, Client, End, Gone, Headers, ResetStatus, Stream};
use super::work::Connect;
use bytes::Bytes;
use orlop_model::Failure;
use std::future::pending;
use std::io;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::debug;

/// How much is copied at a time.
const COPY_BYTES: usize = 16 << 10;

/// Serves a client until it goes.
pub(crate) async fn serve(connect: Connect, socket: TcpStream, received: Bytes) -> End {
    let accept = |headers: &Headers| purpose(headers).is_some();
    spdy::serve(socket, received, IDLE_MAX, accept, |client| handle(client, connect)).await
}

async fn handle(mut client: Client, connect: Connect) {
    let (mut pairs, mut forwards) = (Pairs::new(), JoinSet::new());
    loop {
        let due = pairs.due();
        let overdue = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            stream = client.next_stream() => {
                let Some(stream) = stream else { return };
                let (half, port) = purpose(&stream.headers).expect("others are not accepted");
                match pairs.place(key(stream.id, half, &stream.headers), half, stream, Instant::now()) {
                    Placed::Waits => {}
                    Placed::Whole(pair) => drop(forwards.spawn(forward(pair, port, (connect.connect)(port)))),
                    Placed::Twice(stream) => drop(stream.outgoing.reset(ResetStatus::ProtocolError).await),
                }
            }
            () = overdue => for stream in pairs.overdue(Instant::now()) {
                drop(stream.outgoing.reset(ResetStatus::Cancel).await);
            },
            Some(_) = forwards.join_next() => {}
        }
    }
}

/// Carries one connection. Why there is none, or no more, is said on the stream of errors.
async fn forward(
    pair: Pair<Stream>,
    port: u16,
    connecting: impl Future<Output = Result<std::os::fd::OwnedFd, Failure>>,
) {
    let Pair { data, error } = pair;
    let problem = match connecting.await {
        Ok(socket) => copy(data, socket).await.err().map(|wrong| format!("copy from and to port {port}: {wrong}")),
        Err(failure) => {
            drop(data.outgoing.reset(ResetStatus::Cancel).await);
            Some(failure.message)
        }
    };
    if let Some(problem) = problem {
        debug!(port, problem, "a connection to a port failed");
        if error.outgoing.send(problem.as_bytes()).await == Err(Gone) {
            return;
        }
    }
    drop(error.outgoing.finish().await);
}

/// Copies both ways, until both sides have ended or the client gives the stream up. Each side may end before the other.
async fn copy(data: Stream, socket: std::os::fd::OwnedFd) -> io::Result<()> {
    let socket = Descriptor::new(socket)?;
    let Stream { id: _, headers: _, mut incoming, given_up, outgoing } = data;
    let inward = async {
        let mut space = vec![0; COPY_BYTES];
        while let Ok(count @ 1..) = incoming.read(&mut space).await {
            if socket.write_all(&space[..count]).await.is_err() {
                // The other direction says why, if there is a reason: a server may close before it has read all.
                return;
            }
        }
        drop(socket.shutdown());
    };
    let outward = async {
        let mut space = vec![0; COPY_BYTES];
        loop {
            match socket.read(&mut space).await {
                Ok(0) => break,
                Ok(count) if outgoing.send(&space[..count]).await.is_ok() => {}
                Ok(_) => return Ok(()),
                Err(wrong) => {
                    drop(outgoing.reset(ResetStatus::Cancel).await);
                    return Err(wrong);
                }
            }
        }
        drop(outgoing.finish().await);
        Ok(())
    };
    tokio::select! {
        ((), outcome) = async { tokio::join!(inward, outward) } => outcome,
        Ok(()) = given_up => Ok(()),
    }
}
