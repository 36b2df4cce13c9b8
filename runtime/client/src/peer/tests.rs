//! A connection against a server that misbehaves as told.

use super::*;
use orlop_sys::seqpacket;
use orlop_wire::exit::{ExitRecord, ExitStatus};
use orlop_wire::frame::{Asked, Hello, decode_request, encode_event, encode_reply};
use orlop_wire::packet::DATAGRAM_BYTES_MAX;
use std::sync::Mutex;
use std::thread::JoinHandle;

const BOUND: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Hearing for Heard {
    fn event(&self, event: Event) {
        let Event::Exited { container, .. } = event else { panic!("no execs here") };
        self.0.lock().unwrap().push(container);
    }
    fn gone(&self) {
        self.0.lock().unwrap().push("gone".to_owned());
    }
}

struct Server {
    socket: OwnedFd,
}

impl Server {
    fn next(&self) -> Option<(u64, Request)> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let received = seqpacket::recv(&self.socket, &mut buffer).unwrap();
        let body = buffer[..received.bytes].get(1..)?;
        match decode_request(body).unwrap() {
            (number, Asked::Known(request)) => Some((number, request)),
            (_, Asked::Unknown) => panic!("an unknown request"),
        }
    }

    fn send(&self, body: Vec<u8>) {
        seqpacket::send(&self.socket, &pack(body).datagram, &[]).unwrap();
    }

    fn reply(&self, number: u64, reply: &Reply) {
        self.send(encode_reply(number, reply).unwrap());
    }

    fn exited(&self, container: &str) {
        let record = ExitRecord { started_ns: 1, finished_ns: 2, status: ExitStatus::Code(0), oom: false };
        self.send(encode_event(&Event::Exited { container: container.to_owned(), record }).unwrap());
    }
}

/// Connects to a server that does what `script` says; its pidfd is the test's own, which does not end.
async fn served(script: impl FnOnce(Server) + Send + 'static) -> (Peer, Heard, JoinHandle<()>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let listener = seqpacket::listen(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let mut wait = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut wait, None).unwrap();
        let socket = seqpacket::accept(&listener).unwrap();
        rustix::io::ioctl_fionbio(&socket, false).unwrap();
        let mut buffer = [0; 64];
        let received = seqpacket::recv(&socket, &mut buffer).unwrap();
        assert_eq!(Hello::decode(&buffer[..received.bytes]), Ok(Hello::OURS));
        let me = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
        seqpacket::send(&socket, &Hello::OURS.encode(), &[me.as_fd()]).unwrap();
        script(Server { socket });
    });
    let heard = Heard::default();
    let peer = Peer::connect(&path, "the server".into(), heard.clone()).await.unwrap().unwrap();
    (peer, heard, thread, dir)
}

/// Waits for the server without holding up the connection's task.
async fn finish(thread: JoinHandle<()>) {
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
}

async fn ask(peer: &Peer, container: &str) -> Result<()> {
    peer.ask_done(format!("kill {container}"), Request::Kill { container: container.to_owned() }, BOUND).await
}

#[tokio::test]
async fn nobody_listening_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    assert!(Peer::connect(&path, "nobody".into(), Heard::default()).await.unwrap().is_none());
    drop(seqpacket::listen(&path).unwrap());
    assert!(Peer::connect(&path, "nobody".into(), Heard::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn replies_find_their_requests_whatever_their_order() {
    let (peer, _heard, thread, _dir) = served(|server| {
        let asked: Vec<_> = (0..3).map(|_| server.next().unwrap()).collect();
        for (number, request) in asked.iter().rev() {
            let Request::Kill { container } = request else { panic!("not a kill") };
            match container.as_str() {
                "bad" => server.reply(*number, &Reply::Error { errno: 22, message: "refused".into() }),
                "odd" => server.reply(*number, &Reply::Unsupported),
                _ => server.reply(*number, &Reply::Done),
            }
        }
        assert!(server.next().is_none());
    })
    .await;
    let (good, bad, odd) = tokio::join!(ask(&peer, "good"), ask(&peer, "bad"), ask(&peer, "odd"));
    good.unwrap();
    assert_eq!(bad.unwrap_err().to_string(), "kill bad: refused");
    assert!(matches!(odd, Err(Error::Unsupported { .. })));
    drop(peer);
    finish(thread).await;
}

#[tokio::test]
async fn large_request_travels_in_a_memfd() {
    let (peer, _heard, thread, _dir) = served(|server| {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let received = seqpacket::recv(&server.socket, &mut buffer).unwrap();
        assert_eq!((received.bytes, received.descriptors.len()), (5, 1));
        server.reply(1, &Reply::Done);
    })
    .await;
    ask(&peer, &"x".repeat(200_000)).await.unwrap();
    finish(thread).await;
}

#[tokio::test]
async fn what_the_server_said_before_it_died_is_heard_and_what_is_asked_fails() {
    let (peer, heard, thread, _dir) = served(|server| {
        let _unanswered = server.next().unwrap();
        server.exited("one");
        server.exited("two");
    })
    .await;
    assert!(matches!(ask(&peer, "x").await, Err(Error::Gone { .. })));
    finish(thread).await;
    while peer.stands() || heard.0.lock().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*heard.0.lock().unwrap(), ["one", "two", "gone"]);
    assert!(matches!(ask(&peer, "x").await, Err(Error::Gone { .. })));
}

#[tokio::test]
async fn silent_server_costs_a_request_its_bound_and_nobody_else_anything() {
    let (peer, _heard, thread, _dir) = served(|server| {
        let (late, _) = server.next().unwrap();
        let (number, _) = server.next().unwrap();
        server.reply(late, &Reply::Done);
        server.reply(number, &Reply::Done);
        server.send(vec![77]);
        let (number, _) = server.next().unwrap();
        server.reply(number, &Reply::Done);
    })
    .await;
    let bound = Duration::from_millis(20);
    let late = peer.ask("ask", Request::List, Vec::new(), bound).await.unwrap_err();
    assert_eq!(late.to_string(), "ask: wait for the server: not done within 0.02 s");
    ask(&peer, "next").await.unwrap();
    // Nor does a message that can't be read.
    ask(&peer, "after that").await.unwrap();
    finish(thread).await;
}

#[tokio::test]
async fn dropping_our_side_is_no_death_of_the_server() {
    let (peer, heard, thread, _dir) = served(|server| assert!(server.next().is_none())).await;
    drop(peer);
    finish(thread).await;
    assert!(heard.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_hears_that_a_peer_is_gone_can_not_ask_it_again() {
    // Each time the end comes at another moment of the asking.
    for _ in 0..3000 {
        let (peer, _heard, thread, _dir) = served(drop).await;
        let refused = peer.ask("try", Request::List, Vec::new(), BOUND).await.unwrap_err();
        assert!(matches!(refused, Error::Gone { .. }), "{refused}");
        assert!(!peer.stands());
        thread.join().unwrap();
    }
}
