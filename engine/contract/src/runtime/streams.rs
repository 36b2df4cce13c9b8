//! Contracts of [`Runtime`](orlop_model::ports::Runtime) about streams, and about what is inside a container.

use super::{Program, RuntimeGround, clear, raise, start, start_with, wait_ended};
use crate::objects::{container_id, sandbox, sandbox_id};
use crate::wait_for;
use orlop_model::container::{ContainerSpec, Resources, Stdin};
use orlop_model::container_state::Checked;
use orlop_model::image::ImageConfig;
use orlop_model::ports::{Exec, ExecIo, ExecOverrides, OpenExec};
use orlop_model::streams::{Attached, OutputBytes, TerminalSize, WantedStreams};
use orlop_model::{ContainerId, ErrorKind, Failure, SandboxId};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// What a program run in a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// Says [`SAID`] on its standard output and ends with 0.
    Says,
    /// Gives back what it reads, until that ends.
    Copies,
    /// Runs until it is killed.
    Waits,
    /// Is not in the image.
    Missing,
}

/// What [`Inner::Says`] says.
pub const SAID: &str = "hello";

const ALL: WantedStreams = WantedStreams { stdin: true, stdout: true, stderr: true };
const SIZE: TerminalSize = TerminalSize { rows: 31, columns: 101 };

async fn try_open(
    ground: &impl RuntimeGround,
    pod: &SandboxId,
    id: &ContainerId,
    inner: Inner,
    terminal: Option<TerminalSize>,
) -> Result<OpenExec, Failure> {
    let container = ground.container(pod, "c", Program::Waits);
    let exec = Exec {
        sandbox_id: pod,
        sandbox: &sandbox("pod"),
        id,
        container: &container,
        resources: &Resources::default(),
        image: &ImageConfig::default(),
        checked: &Checked::default(),
        overrides: &ExecOverrides::default(),
        command: &ground.command(inner),
        timeout: None,
        output_bytes_max: 0,
    };
    ground.runtime().exec_open(exec, ExecIo { streams: ALL, terminal }).await
}

/// Reads to the end of a stream, which of a terminal is an error.
async fn read_all(stream: OwnedFd) -> String {
    let mut all = Vec::new();
    let ended = || {
        let mut buffer = [0; 1024];
        loop {
            match rustix::io::read(&stream, &mut buffer[..]) {
                Ok(0) | Err(Errno::IO) => return Some(()),
                Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
                Err(Errno::AGAIN) => return None,
                Err(other) => panic!("{other}"),
            }
        }
    };
    wait_for("the end of a stream", ended).await;
    String::from_utf8(all).unwrap()
}

async fn read_some(stream: &OwnedFd, wanted: &str) {
    let mut all = Vec::new();
    let came = || {
        let mut buffer = [0; 1024];
        match rustix::io::read(stream, &mut buffer[..]) {
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
            Err(Errno::AGAIN) => {}
            Err(other) => panic!("{other}"),
        }
        (all == wanted.as_bytes()).then_some(())
    };
    wait_for(wanted, came).await;
}

/// And is told its end.
pub async fn a_program_run_inside_has_streams_of_its_own(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let open = try_open(&ground, &pod, &id, Inner::Says, None).await.unwrap();
    assert_ne!(open.pid, 0);
    drop(open.streams.stdin);
    assert_eq!(read_all(open.streams.stdout.unwrap()).await, SAID);
    assert_eq!(read_all(open.streams.stderr.unwrap()).await, "");
    let ended = open.ended.await.unwrap();
    assert_eq!((ended.exit_code, ended.never_started), (0, None));
    clear(&ground, &pod).await;
}

/// Half of the connection closes, the other goes on.
pub async fn a_program_run_inside_reads_until_its_input_is_closed(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let open = try_open(&ground, &pod, &id, Inner::Copies, None).await.unwrap();
    let (stdin, stdout) = (open.streams.stdin.unwrap(), open.streams.stdout.unwrap());
    for words in ["one", "two"] {
        assert_eq!(rustix::io::write(&stdin, words.as_bytes()).unwrap(), words.len());
        read_some(&stdout, words).await;
    }
    drop(stdin);
    assert_eq!(read_all(stdout).await, "");
    assert_eq!(open.ended.await.unwrap().exit_code, 0);
    clear(&ground, &pod).await;
}

/// All output comes by it.
pub async fn a_program_on_a_terminal_has_one_stream_of_the_size_asked_for(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let open = try_open(&ground, &pod, &id, Inner::Says, Some(SIZE)).await.unwrap();
    assert!(open.streams.stderr.is_none() && open.streams.stdin.is_some());
    let terminal = open.streams.stdout.unwrap();
    let found = rustix::termios::tcgetwinsize(&terminal).unwrap();
    assert_eq!((found.ws_row, found.ws_col), (SIZE.rows, SIZE.columns));
    assert_eq!(open.ended.await.unwrap().exit_code, 0);
    drop(open.streams.stdin);
    assert_eq!(read_all(terminal).await, SAID);
    clear(&ground, &pod).await;
}

/// With a terminal or without: that is no failure.
pub async fn a_program_that_is_not_inside_is_an_end_with_a_reason(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    for terminal in [None, Some(SIZE)] {
        let open = try_open(&ground, &pod, &id, Inner::Missing, terminal).await.unwrap();
        assert_eq!(open.pid, 0);
        let ended = open.ended.await.unwrap();
        assert_eq!((ended.exit_code, ended.never_started.is_some()), (127, true));
    }
    clear(&ground, &pod).await;
}

/// Nobody else would ever end it.
pub async fn a_program_that_nobody_waits_for_is_killed(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, ..) = start(&ground, &pod, "c", Program::Waits).await;
    let open = try_open(&ground, &pod, &id, Inner::Waits, None).await.unwrap();
    drop(open.ended);
    wait_for("its end", || (!ground.has_process(open.pid)).then_some(())).await;
    // Its streams may outlive it.
    drop(open.streams);
    clear(&ground, &pod).await;
}

async fn attach(ground: &impl RuntimeGround, pod: &SandboxId, id: &ContainerId) -> Attached {
    ground.runtime().attach(pod, id, WantedStreams { stderr: false, ..ALL }).await.unwrap()
}

/// What it says comes back by way of the container, and its stream ends with it.
pub async fn a_client_hears_a_container_and_is_heard(mut ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let edit = |spec: &mut ContainerSpec| spec.process.stdin = Stdin::Open;
    let (id, ..) = start_with(&ground, &pod, "c", Program::Copies, edit).await;
    let first = attach(&ground, &pod, &id).await;
    assert_eq!(first.from, OutputBytes::default());
    rustix::io::write(first.streams.stdin.as_ref().unwrap(), b"one\n").unwrap();
    read_some(first.streams.stdout.as_ref().unwrap(), "one\n").await;
    drop(first);
    // Neither the end of a client nor that of the daemon ends its input.
    ground.restart();
    ground.runtime().observe(&pod).await.unwrap();
    let again = attach(&ground, &pod, &id).await;
    rustix::io::write(again.streams.stdin.as_ref().unwrap(), b"two\n").unwrap();
    read_some(again.streams.stdout.as_ref().unwrap(), "two\n").await;
    ground.runtime().kill(&pod, &id).await.unwrap();
    drop(again.streams.stdin);
    assert_eq!(read_all(again.streams.stdout.unwrap()).await, "");
    // Its streams end a moment before it does.
    wait_ended(&ground, &id).await;
    let late = ground.runtime().attach(&pod, &id, ALL).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::WrongState, "{late}");
    clear(&ground, &pod).await;
}

/// Also when that comes twice.
pub async fn an_input_that_was_closed_is_given_to_nobody(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let edit = |spec: &mut ContainerSpec| spec.process.stdin = Stdin::Once;
    let (id, ..) = start_with(&ground, &pod, "c", Program::Waits, edit).await;
    for _ in 0..2 {
        ground.runtime().close_stdin(&pod, &id).await.unwrap();
    }
    let refused = ground.runtime().attach(&pod, &id, ALL).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState, "{refused}");
    ground.runtime().attach(&pod, &id, WantedStreams { stdin: false, ..ALL }).await.unwrap();
    clear(&ground, &pod).await;
}

/// Pipes have none.
pub async fn a_size_is_set_of_terminals_alone(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let edit = |spec: &mut ContainerSpec| spec.process.terminal = true;
    let (on_terminal, ..) = start_with(&ground, &pod, "c", Program::Waits, edit).await;
    for _ in 0..2 {
        ground.runtime().resize(&pod, &on_terminal, SIZE).await.unwrap();
    }
    let (on_pipes, ..) = start(&ground, &pod, "d", Program::Waits).await;
    let refused = ground.runtime().resize(&pod, &on_pipes, SIZE).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidArgument, "{refused}");
    ground.runtime().drop_task(&pod, &on_terminal).await.unwrap();
    let late = ground.runtime().resize(&pod, &on_terminal, SIZE).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::WrongState, "{late}");
    clear(&ground, &pod).await;
}

/// Of a sandbox that is there; without one there is nothing to connect to either.
pub async fn a_port_that_nobody_listens_on_can_not_be_connected_to(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let refused = ground.runtime().connect(&pod, 4321).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
    ground.runtime().connect(&sandbox_id("never"), 4321).await.unwrap_err();
    clear(&ground, &pod).await;
}

/// Afterwards there is nothing to be found.
pub async fn what_is_inside_a_container_is_found_while_it_runs(ground: impl RuntimeGround) {
    let pod = raise(&ground, "pod").await;
    let (id, pid, _) = start(&ground, &pod, "c", Program::Waits).await;
    assert!(ground.runtime().processes(&pod, &id).await.unwrap().contains(&pid));
    ground.runtime().root_of(&pod, &id).await.unwrap();
    ground.runtime().drop_task(&pod, &id).await.unwrap();
    for id in [&id, &container_id("nobody")] {
        let root = ground.runtime().root_of(&pod, id).await.unwrap_err();
        let processes = ground.runtime().processes(&pod, id).await.unwrap_err();
        assert_eq!((root.kind, processes.kind), (ErrorKind::WrongState, ErrorKind::WrongState));
    }
    clear(&ground, &pod).await;
}
