//! A server of ours, spawner or shim, as the rest of the adapter sees it.
//!
//! One task owns the socket. Requests reach it through a bounded queue and are matched with their replies by number;
//! events go to whoever connected, in the order they came. A reply is handed over before an event that came after it.

use crate::config::{QUEUE_MAX, UNANSWERED_MAX};
use crate::error::{Error, Result};
use crate::socket::{Buffer, Incoming, Outgoing, Socket, watch};
use orlop_wire::frame::{Event, Heard, Reply, Request, decode_heard, encode_request};
use orlop_wire::packet::pack;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

/// A connected server.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    name: Arc<str>,
    queue: mpsc::Sender<Asking>,
    pidfd: Arc<AsyncFd<OwnedFd>>,
}

/// A reply with its descriptors.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The reply: none of [`Reply::Error`] and [`Reply::Unsupported`], which are errors.
    pub(crate) reply: Reply,
    /// Its slots.
    pub(crate) slots: Vec<OwnedFd>,
}

/// What the owner of a connection hears of it.
pub(crate) trait Hearing: Send + Sync + 'static {
    /// The server reports something.
    fn event(&self, event: Event);
    /// The server is gone. Called once, last.
    fn gone(&self);
}

/// A request under way to the task.
#[derive(Debug)]
struct Asking {
    request: Request,
    slots: Vec<OwnedFd>,
    reply: oneshot::Sender<Result<Answered>>,
    tried: String,
}

/// Replies that are waited for.
type Waiting = HashMap<u64, Asking>;

// === impl Peer ===

impl Peer {
    /// Connects to a server; `None` when nobody listens.
    pub(crate) async fn connect(path: &Path, name: String, hearing: impl Hearing) -> Result<Option<Self>> {
        let tried = format!("reach {name}");
        let Some((socket, pidfd)) = Socket::connect(path, &tried).await? else {
            return Ok(None);
        };
        let pidfd = Arc::new(watch(pidfd).map_err(|error| Error::io(tried, error))?);
        let (queue, asked) = mpsc::channel(QUEUE_MAX);
        let peer = Self { name: name.into(), queue, pidfd };
        // Owned by every clone of the queue's sender: it ends when the last is dropped, or with the server.
        tokio::spawn(Task { name: Arc::clone(&peer.name), socket, hearing }.run(asked, Arc::clone(&peer.pidfd)));
        Ok(Some(peer))
    }

    /// Says whether its connection stands.
    pub(crate) fn stands(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Asks for something and waits for the reply, for a bounded time.
    pub(crate) async fn ask(
        &self,
        tried: impl Into<String>,
        request: Request,
        slots: Vec<OwnedFd>,
        bound: Duration,
    ) -> Result<Answered> {
        let tried = tried.into();
        let (reply, answer) = oneshot::channel();
        let asking = Asking { request, slots, reply, tried: tried.clone() };
        let gone = || Error::Gone { tried: tried.clone(), peer: self.name.to_string() };
        let asked = async {
            self.queue.send(asking).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let late = |_| Error::Late { tried: format!("{tried}: wait for {}", self.name), bound };
        tokio::time::timeout(bound, asked).await.map_err(late)?
    }

    /// Asks for something that is answered by [`Reply::Done`].
    pub(crate) async fn ask_done(&self, tried: impl Into<String>, request: Request, bound: Duration) -> Result<()> {
        let tried = tried.into();
        let reply = self.ask(tried.clone(), request, Vec::new(), bound).await?.reply;
        if reply == Reply::Done { Ok(()) } else { Err(Error::Unexpected { tried }) }
    }

    /// Waits until its process is gone; says whether it is.
    pub(crate) async fn gone_within(&self, bound: Duration) -> bool {
        tokio::time::timeout(bound, self.pidfd.readable()).await.is_ok_and(|ready| ready.is_ok())
    }

    /// Returns its process id, as the kernel says of the pidfd.
    pub(crate) fn pid(&self) -> Result<u32> {
        let tried = format!("find the process id of {}", self.name);
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd()));
        let info = info.map_err(|error| Error::io(tried.clone(), error))?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        // -1 when it was reaped, 0 when it is in another pid namespace.
        pid.filter(|pid| *pid != 0).ok_or_else(|| Error::Gone { tried, peer: self.name.to_string() })
    }

    /// Kills its process.
    pub(crate) fn kill(&self) -> std::io::Result<()> {
        kill(self.pidfd.get_ref())
    }
}

/// Kills a process. Quiet when it is gone.
pub(crate) fn kill(pidfd: &OwnedFd) -> std::io::Result<()> {
    const SIGKILL: u8 = 9;
    match orlop_sys::process::send_signal(pidfd.as_fd(), SIGKILL) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
        outcome => outcome,
    }
}

// === impl Task ===

/// Owns the socket.
struct Task<H> {
    name: Arc<str>,
    socket: Socket,
    hearing: H,
}

impl<H: Hearing> Task<H> {
    async fn run(self, mut asked: mpsc::Receiver<Asking>, pidfd: Arc<AsyncFd<OwnedFd>>) {
        let mut waiting = Waiting::new();
        let server_ended = self.serve(&mut asked, &pidfd, &mut waiting).await;
        asked.close();
        while let Ok(asking) = asked.try_recv() {
            asking.gone(&self.name);
        }
        for (_, asking) in waiting.drain() {
            asking.gone(&self.name);
        }
        if server_ended {
            self.hearing.gone();
        }
    }

    /// Carries messages both ways; says whether the server ended, rather than our interest in it.
    async fn serve(&self, asked: &mut mpsc::Receiver<Asking>, pidfd: &AsyncFd<OwnedFd>, waiting: &mut Waiting) -> bool {
        let mut number = 0_u64;
        let mut outgoing: Option<(u64, Outgoing)> = None;
        // The pidfd ends a connection whose socket a stray child of the server still holds; what is queued is read first.
        let mut dead = false;
        let mut buffer = Buffer::new();
        loop {
            tokio::select! {
                biased;
                received = self.socket.receive(&mut buffer) => match received {
                    Ok(Some(incoming)) => self.heard(incoming, waiting),
                    Ok(None) => return true,
                    Err(error) => {
                        warn!(peer = %self.name, %error, "what came can't be read; closing the connection");
                        return true;
                    }
                },
                sent = send(&self.socket, outgoing.as_ref()), if outgoing.is_some() => {
                    let sent_number = outgoing.take().map(|(number, _)| number);
                    match sent {
                        Ok(()) => {}
                        // The peer is dead, which is heard next. Who asked is told then, once nobody can ask it any more:
                        // told now, they might ask the same peer again.
                        Err(error) if is_closed(&error) => {}
                        Err(error) => {
                            if let Some(asking) = sent_number.and_then(|number| waiting.remove(&number)) {
                                asking.unsent(error);
                            }
                        }
                    }
                },
                asking = asked.recv(), if outgoing.is_none() => match asking {
                    Some(asking) => {
                        number += 1;
                        outgoing = self.accept(asking, number, waiting);
                    }
                    None => return false,
                },
                _ = pidfd.readable(), if !dead => dead = true,
                () = std::future::ready(()), if dead => return true,
            }
        }
    }

    /// Takes a request to be sent, or refuses it.
    fn accept(&self, mut asking: Asking, number: u64, waiting: &mut Waiting) -> Option<(u64, Outgoing)> {
        // Who gave up waiting is forgotten only here, so that a late reply is still known to be one.
        waiting.retain(|_, asking| !asking.reply.is_closed());
        if waiting.len() >= UNANSWERED_MAX {
            let what = format!("{UNANSWERED_MAX} requests to {}", self.name);
            let error = Error::Full { tried: asking.tried.clone(), what };
            let _ = asking.reply.send(Err(error));
            return None;
        }
        let slots = std::mem::take(&mut asking.slots);
        let encoded = encode_request(number, &asking.request)
            .map_err(|source| Error::Wire { tried: asking.tried.clone(), source })
            .and_then(|body| Outgoing::new(pack(body), slots).map_err(|error| Error::io(asking.tried.clone(), error)));
        match encoded {
            Ok(outgoing) => {
                waiting.insert(number, asking);
                Some((number, outgoing))
            }
            Err(error) => {
                let _ = asking.reply.send(Err(error));
                None
            }
        }
    }

    fn heard(&self, incoming: Incoming, waiting: &mut Waiting) {
        match decode_heard(&incoming.body) {
            Ok(Heard::Event(Some(event))) => self.hearing.event(event),
            Ok(Heard::Event(None)) => debug!(peer = %self.name, "an event of a newer shim is passed over"),
            Ok(Heard::Reply { number, reply }) => match waiting.remove(&number) {
                Some(asking) => asking.answer(reply, incoming.slots),
                None => debug!(peer = %self.name, number, "a reply that nobody waits for"),
            },
            Err(error) => warn!(peer = %self.name, %error, "a message can't be read and is passed over"),
        }
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
}

async fn send(socket: &Socket, outgoing: Option<&(u64, Outgoing)>) -> std::io::Result<()> {
    match outgoing {
        Some((_, outgoing)) => socket.send(outgoing).await,
        None => Ok(()),
    }
}

// === impl Asking ===

impl Asking {
    fn answer(self, reply: Option<Reply>, slots: Vec<OwnedFd>) {
        let tried = self.tried;
        let answer = match reply {
            Some(Reply::Error { errno, message }) => Err(Error::Refused { tried, message, errno }),
            Some(Reply::Unsupported) => Err(Error::Unsupported { tried }),
            Some(reply) => Ok(Answered { reply, slots }),
            None => Err(Error::Unexpected { tried }),
        };
        // Who asked may have given up.
        let _ = self.reply.send(answer);
    }

    fn unsent(self, error: std::io::Error) {
        let _ = self.reply.send(Err(Error::io(self.tried, error)));
    }

    fn gone(self, peer: &str) {
        let _ = self.reply.send(Err(Error::Gone { tried: self.tried, peer: peer.to_owned() }));
    }
}

#[cfg(test)]
mod tests;
