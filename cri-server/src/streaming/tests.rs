//! The whole server over loopback, with real programs behind real pipes and terminals.

use super::spdy::peer::{Heard, Peer};
use super::work::tests::forward_nowhere;
use super::work::{Command, Connect, Opened, Terminal, Work};
use super::*;
use orlop_model::ports::{Answer, ExecEnded};
use orlop_model::streams::{Streams, TerminalSize, WantedStreams};
use orlop_model::{ErrorKind, Failure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command as Program;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// A server; ends with it.
struct Served {
    streaming: Arc<Streaming>,
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Served {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let streaming = Arc::new(Streaming::new(address));
        let (mut task, serving) = (JoinSet::new(), Arc::clone(&streaming));
        task.spawn(async move { match serving.serve(listener).await {} });
        Self { streaming, address, _task: task }
    }

    /// Promises work; returns the path of its URL.
    fn path(&self, work: Work) -> String {
        let url = self.streaming.promise(work).unwrap();
        url.strip_prefix(&format!("http://{}", self.address)).unwrap().to_owned()
    }

    /// Sends a request; returns the head of the answer, and the connection.
    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (String, TcpStream) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        socket.write_all(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap(), socket)
    }

    async fn upgrade(&self, work: Work, protocols: &str) -> Peer {
        let path = self.path(work);
        let (head, socket) = self.request("POST", &path, &upgrade_headers(protocols)).await;
        let said = head.to_lowercase();
        // Clients look at both.
        assert!(said.starts_with("http/1.1 101 ") && said.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(said.contains("\r\nupgrade: spdy/3.1\r\n"), "{head}");
        Peer::over(socket)
    }
}

fn upgrade_headers(protocols: &str) -> [(&'static str, &str); 3] {
    [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", protocols)]
}

const V4: &str = "v5.channel.k8s.io,v4.channel.k8s.io,v3.channel.k8s.io,v2.channel.k8s.io,channel.k8s.io";
const ALL: WantedStreams = WantedStreams { stdin: true, stdout: true, stderr: true };

/// A command that runs a shell's program.
fn shell(program: &str, wanted: WantedStreams) -> Work {
    let program = program.to_owned();
    let open = Box::new(move || -> Answer<'static, _> { Box::pin(std::future::ready(Ok(spawn(&program)))) });
    Work::Exec(Command { container: "c".into(), wanted, terminal: Terminal::No, open, close_stdin: None })
}

fn spawn(program: &str) -> Opened {
    let mut command = Program::new("sh");
    command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let streams = Streams {
        stdin: Some(child.stdin.take().unwrap().into_owned_fd().unwrap()),
        stdout: Some(child.stdout.take().unwrap().into_owned_fd().unwrap()),
        stderr: Some(child.stderr.take().unwrap().into_owned_fd().unwrap()),
    };
    for stream in [&streams.stdin, &streams.stdout, &streams.stderr].into_iter().flatten() {
        rustix::io::ioctl_fionbio(stream, true).unwrap();
    }
    let ended = async move { Ok(ended(child.wait().await.unwrap())) };
    let no_terminal = Box::new(|_| -> Answer<'static, _> { Box::pin(std::future::ready(Ok(()))) });
    Opened { streams, resize: no_terminal, ended: Some(Box::pin(ended)) }
}

fn ended(status: std::process::ExitStatus) -> ExecEnded {
    use std::os::unix::process::ExitStatusExt;
    let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
    ExecEnded { exit_code, never_started: None }
}

/// A client of a command, with its streams by name.
struct Commanded {
    peer: Peer,
    streams: BTreeMap<&'static str, u32>,
}

impl Commanded {
    async fn open(mut peer: Peer, names: &[&'static str]) -> Self {
        let mut streams = BTreeMap::new();
        for &name in names {
            streams.insert(name, peer.open(&[("streamtype", name)]).await);
        }
        Self { peer, streams }
    }

    async fn send(&mut self, name: &str, bytes: &[u8], fin: bool) {
        self.peer.send(self.streams[name], bytes, fin).await;
    }

    /// Reads all that is said to the end; returns it by stream.
    async fn rest(mut self) -> BTreeMap<&'static str, String> {
        let output =
            ["stdout", "stderr", "error"].into_iter().filter_map(|name| Some((name, *self.streams.get(name)?)));
        let output: BTreeMap<u32, &str> = output.map(|(name, id)| (id, name)).collect();
        let ids: Vec<u32> = output.keys().copied().collect();
        let said = self.peer.until_end(&ids).await;
        assert_eq!(self.peer.heard().await, Some(Heard::GoAway(0)));
        said.into_iter().map(|(id, bytes)| (output[&id], String::from_utf8(bytes).unwrap())).collect()
    }
}

fn verdict(said: &BTreeMap<&str, String>) -> Value {
    serde_json::from_str(&said["error"]).unwrap()
}

#[tokio::test]
async fn a_command_reads_its_input_to_the_end_and_its_outputs_and_exit_code_arrive() {
    let served = Served::start().await;
    let peer = served.upgrade(shell("cat; echo to the other >&2; exit 7", ALL), V4).await;
    let mut command = Commanded::open(peer, &["error", "stdin", "stdout", "stderr"]).await;
    let input = "line\n".repeat(50_000);
    command.send("stdin", b"", false).await;
    // In pieces, with the output taken in between: nobody here holds a quarter of a megabyte.
    let id = command.streams["stdin"];
    let (send, sending) = (input.clone(), id);
    let mut said = String::new();
    for piece in send.as_bytes().chunks(10_000) {
        command.peer.send(sending, piece, false).await;
        if said.len() + 40_000 < 50_000 * 5 {
            match command.peer.heard().await {
                Some(Heard::Data(id, bytes, false)) if id == command.streams["stdout"] => {
                    said.push_str(&String::from_utf8(bytes).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    command.send("stdin", b"", true).await;
    let rest = command.rest().await;
    assert_eq!(said + &rest["stdout"], input);
    assert_eq!(rest["stderr"], "to the other\n");
    assert_eq!(verdict(&rest)["details"]["causes"], json!([{"reason": "ExitCode", "message": "7"}]));
}

#[tokio::test]
async fn a_program_that_ends_well_is_a_success_though_its_children_keep_the_output_open() {
    let served = Served::start().await;
    let wanted = WantedStreams { stdin: false, stdout: true, stderr: false };
    let peer = served.upgrade(shell("echo said; sleep 60 & exit 0", wanted), V4).await;
    let command = Commanded::open(peer, &["error", "stdout"]).await;
    let said = tokio::time::timeout(Duration::from_secs(30), command.rest()).await;
    let said = said.expect("nobody waits for what was left behind");
    assert_eq!(said["stdout"], "said\n");
    assert_eq!(verdict(&said)["status"], "Success");
}

#[tokio::test]
async fn older_clients_hear_of_an_exit_code_as_text() {
    let served = Served::start().await;
    let wanted = WantedStreams { stdin: false, stdout: true, stderr: true };
    for protocol in ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"] {
        let peer = served.upgrade(shell("exit 3", wanted), protocol).await;
        let said = Commanded::open(peer, &["error", "stdout", "stderr"]).await.rest().await;
        assert!(said["error"].contains("non-zero exit code"), "{said:?}");
        let peer = served.upgrade(shell("true", wanted), protocol).await;
        assert_eq!(Commanded::open(peer, &["error", "stdout", "stderr"]).await.rest().await["error"], "");
    }
}

#[tokio::test]
async fn a_command_that_can_not_begin_says_why() {
    let served = Served::start().await;
    let open = Box::new(|| -> Answer<'static, _> {
        Box::pin(std::future::ready(Err(Failure::new(ErrorKind::NotFound, "the container is gone"))))
    });
    let wanted = WantedStreams { stdin: false, stdout: true, stderr: false };
    let work = Work::Attach(Command { container: "c".into(), wanted, terminal: Terminal::No, open, close_stdin: None });
    let said = Commanded::open(served.upgrade(work, V4).await, &["error", "stdout"]).await.rest().await;
    assert_eq!(verdict(&said)["message"], "Internal error occurred: the container is gone");
}

#[tokio::test]
async fn a_client_that_goes_takes_its_command_along() {
    let served = Served::start().await;
    let (hold, held) = oneshot::channel::<()>();
    let hold = Mutex::new(Some(hold));
    let open = Box::new(move || -> Answer<'static, _> {
        let mut opened = spawn("exec sleep 1000");
        let (ended, hold) = (opened.ended.take().unwrap(), hold.lock().unwrap().take());
        // The sender is dropped with the future that would kill the program.
        opened.ended = Some(Box::pin(async move {
            let _hold = hold;
            ended.await
        }));
        Box::pin(std::future::ready(Ok(opened)))
    });
    let command = Command { container: "c".into(), wanted: ALL, terminal: Terminal::No, open, close_stdin: None };
    let peer = served.upgrade(Work::Exec(command), V4).await;
    let mut command = Commanded::open(peer, &["error", "stdin", "stdout", "stderr"]).await;
    // More than its pipe takes, so that the copy hangs.
    command.send("stdin", &vec![0; 200_000], false).await;
    drop(command);
    assert!(held.await.is_err());
}

/// A program on a terminal, as an exec of the node has one: the same descriptor both ways.
fn on_a_terminal(program: &'static str) -> Opened {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = std::path::PathBuf::from(ptsname(&ours, Vec::new()).unwrap().into_string().unwrap());
    let theirs = || std::fs::File::options().read(true).write(true).open(&theirs).unwrap();
    let mut command = Program::new("setsid");
    command.args(["--ctty", "--wait", "sh", "-c", program]);
    command.stdin(theirs()).stdout(theirs()).stderr(theirs()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    drop(command);
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    let (input, sized): (OwnedFd, OwnedFd) =
        (ours.as_fd().try_clone_to_owned().unwrap(), ours.as_fd().try_clone_to_owned().unwrap());
    let resize = Box::new(move |size: TerminalSize| -> Answer<'static, _> {
        let size = rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&sized, size).unwrap();
        Box::pin(std::future::ready(Ok(())))
    });
    let ended = async move { Ok(ended(child.wait().await.unwrap())) };
    Opened {
        streams: Streams { stdin: Some(input), stdout: Some(ours), stderr: None },
        resize,
        ended: Some(Box::pin(ended)),
    }
}

#[tokio::test]
async fn a_terminal_has_the_clients_size_and_echoes_its_input() {
    let served = Served::start().await;
    // No trap: a shell that is told of the size between two commands would hear of it only after the next line.
    let program = "echo ready; until [ \"$(stty size)\" = '43 132' ]; do sleep 0.02; done; stty size
        read line; echo \"got $line\"; exit 5";
    let open = Box::new(move || -> Answer<'static, _> { Box::pin(std::future::ready(Ok(on_a_terminal(program)))) });
    let wanted = WantedStreams { stdin: true, stdout: true, stderr: false };
    let command = Command { container: "c".into(), wanted, terminal: Terminal::Yes, open, close_stdin: None };
    let peer = served.upgrade(Work::Exec(command), V4).await;
    let mut command = Commanded::open(peer, &["error", "stdin", "stdout", "resize"]).await;
    let stdout = command.streams["stdout"];
    let mut seen = String::new();
    let mut until = async |command: &mut Commanded, words: &str| {
        while !seen.contains(words) {
            let Some(Heard::Data(id, bytes, false)) = command.peer.heard().await else { panic!("ended with {seen:?}") };
            assert_eq!(id, stdout);
            seen.push_str(&String::from_utf8(bytes).unwrap());
        }
    };
    until(&mut command, "ready").await;
    command.send("resize", b"{\"Width\":132,\"Hei", false).await;
    command.send("resize", b"ght\":43}\n", false).await;
    until(&mut command, "43 132").await;
    command.send("stdin", b"typed\n", false).await;
    until(&mut command, "got typed").await;
    let said = command.rest().await;
    assert_eq!(verdict(&said)["details"]["causes"][0]["message"], "5");
}

#[tokio::test]
async fn input_of_an_attach_is_closed_when_the_client_sends_no_more_and_when_it_goes() {
    let served = Served::start().await;
    for leaves in [false, true] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let close = Arc::new(move || -> Answer<'static, _> {
            tell.send(()).unwrap();
            Box::pin(std::future::ready(Ok(())))
        });
        let open = Box::new(move || -> Answer<'static, _> {
            // An attach knows no end but that of the output.
            let mut opened = spawn("cat");
            let ended = opened.ended.take().unwrap();
            drop(tokio::spawn(ended));
            Box::pin(std::future::ready(Ok(opened)))
        });
        let wanted = WantedStreams { stdin: true, stdout: true, stderr: false };
        let command = Command { container: "c".into(), wanted, terminal: Terminal::No, open, close_stdin: Some(close) };
        let peer = served.upgrade(Work::Attach(command), V4).await;
        let mut command = Commanded::open(peer, &["error", "stdin", "stdout"]).await;
        command.send("stdin", b"hello", !leaves).await;
        if leaves {
            drop(command);
        } else {
            let said = command.rest().await;
            assert_eq!((said["stdout"].as_str(), &verdict(&said)["status"]), ("hello", &json!("Success")));
            told.recv().await.unwrap();
        }
        told.recv().await.unwrap();
    }
}

/// A port of this host.
fn to_loopback() -> Work {
    let connect = |port: u16| -> Answer<'static, Result<OwnedFd, Failure>> {
        Box::pin(async move {
            let refused = |wrong: std::io::Error| {
                Failure::new(ErrorKind::Unavailable, format!("connect to port {port} of the pod: {wrong}"))
            };
            let socket = TcpStream::connect(("127.0.0.1", port)).await.map_err(refused)?;
            Ok(socket.into_std().unwrap().into())
        })
    };
    Work::PortForward(Connect { sandbox: "pod".into(), connect: Box::new(connect) })
}

/// Opens a pair as a client does: the stream of errors first, of which its own side ends at once.
async fn open_pair(peer: &mut Peer, port: u16, request: Option<&str>) -> (u32, u32) {
    let port = port.to_string();
    let mut headers = vec![("port", port.as_str())];
    headers.extend(request.map(|request| ("requestid", request)));
    let with = |kind| [vec![("streamtype", kind)], headers.clone()].concat();
    let error = peer.open(&with("error")).await;
    peer.send(error, b"", true).await;
    (error, peer.open(&with("data")).await)
}

#[tokio::test]
async fn connections_to_ports_are_carried_beside_each_other_each_side_ending_by_itself() {
    let served = Served::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut peer = served.upgrade(to_loopback(), "portforward.k8s.io").await;
    let (error_one, one) = open_pair(&mut peer, port, Some("0")).await;
    let (mut first, _) = listener.accept().await.unwrap();
    // An old client gives no ids.
    let (error_two, two) = open_pair(&mut peer, port, None).await;
    let (mut second, _) = listener.accept().await.unwrap();
    peer.send(two, b"question two", true).await;
    let mut question = String::new();
    second.read_to_string(&mut question).await.unwrap();
    second.write_all(b"answer two").await.unwrap();
    drop(second);
    peer.send(one, b"question one", true).await;
    first.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question twoquestion one");
    first.write_all(b"answer one").await.unwrap();
    drop(first);
    let said = peer.until_end(&[one, two, error_one, error_two]).await;
    assert_eq!((&said[&one], &said[&two]), (&b"answer one".to_vec(), &b"answer two".to_vec()));
    assert!(said[&error_one].is_empty() && said[&error_two].is_empty());
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_said_on_the_stream_of_errors_and_the_connection_goes_on() {
    let served = Served::start().await;
    let mut peer = served.upgrade(forward_nowhere(), "portforward.k8s.io").await;
    for request in ["0", "1"] {
        let (error, data) = open_pair(&mut peer, 81, Some(request)).await;
        assert!(matches!(peer.heard().await, Some(Heard::Reset(reset, _)) if reset == data));
        assert_eq!(peer.until_end(&[error]).await[&error], b"connect to port 81: refused");
    }
    let refused = peer.begin(&[("streamtype", "data"), ("port", "0")]).await;
    assert!(matches!(peer.heard().await, Some(Heard::Reset(reset, _)) if reset == refused));
}

#[tokio::test]
async fn a_stream_that_its_client_gives_up_ends_its_connection() {
    let served = Served::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = served.upgrade(to_loopback(), "portforward.k8s.io").await;
    let (error, data) = open_pair(&mut peer, listener.local_addr().unwrap().port(), Some("0")).await;
    let (mut socket, _) = listener.accept().await.unwrap();
    peer.reset(data).await;
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(peer.until_end(&[error]).await[&error].is_empty());
}

#[tokio::test]
async fn a_url_is_good_once_and_only_for_who_speaks_spdy() {
    let served = Served::start().await;
    let path = served.path(forward_nowhere());
    let upgrade = upgrade_headers("portforward.k8s.io");
    for (method, path, headers, expected) in [
        ("POST", "/", &upgrade[..], "404"),
        ("POST", "/portforward/0000", &upgrade[..], "404"),
        ("POST", &path.replace("portforward", "exec"), &upgrade_headers(V4)[..], "404"),
        ("PUT", &path, &upgrade[..], "405"),
        ("POST", &path, &[], "400"),
        ("POST", &path, &upgrade[..2], "400"),
        ("POST", &path, &upgrade_headers("v9.channel.k8s.io")[..], "403"),
        ("GET", &path, &upgrade[..], "101"),
        ("GET", &path, &upgrade[..], "404"),
    ] {
        let (head, _socket) = served.request(method, path, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{method} {path} {headers:?}: {head}");
        assert_eq!(expected == "403", head.contains("x-accepted-stream-protocol-versions: portforward.k8s.io"));
    }
}
