//! Streams of programs and containers, by real pipes, terminals and sockets.

use crate::support::{Pod, World, pod, wait_for};
use crate::world;
use orlop_model::container::{ContainerSpec, Stdin};
use orlop_model::container_state::{Checked, Exit};
use orlop_model::ports::{Exec, ExecIo, ExecOverrides, Launched, OpenExec, Runtime};
use orlop_model::streams::{OutputBytes, TerminalSize, WantedStreams};
use orlop_model::{ContainerId, ErrorKind};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

const ALL: WantedStreams = WantedStreams { stdin: true, stdout: true, stderr: true };

async fn running(
    world: &World,
    script: &str,
    edit: impl FnOnce(&mut ContainerSpec),
) -> (Pod, ContainerSpec, ContainerId) {
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (mut spec, id) = world.container(&web, "one", script);
    edit(&mut spec);
    let launched = world.start(&web, &spec, &id).await.unwrap();
    assert!(matches!(launched, Launched::Running { .. }), "{launched:?}");
    (web, spec, id)
}

async fn leave(world: World, web: &Pod, id: &ContainerId) {
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.client.drop_task(&web.id, id).await.unwrap();
    world.end().await;
}

pub(crate) async fn open(
    world: &World,
    (web, container, id): (&Pod, &ContainerSpec, &ContainerId),
    script: &str,
    overrides: &ExecOverrides,
    terminal: Option<TerminalSize>,
) -> Result<OpenExec, orlop_model::Failure> {
    let exec = Exec {
        sandbox_id: &web.id,
        sandbox: &web.spec,
        id,
        container,
        resources: &web.resources,
        image: &web.image,
        checked: &Checked::default(),
        overrides,
        command: &["/bin/sh", "-c", script].map(str::to_owned),
        timeout: None,
        output_bytes_max: 0,
    };
    world.client.exec_open(exec, ExecIo { streams: ALL, terminal }).await
}

/// Reads until the stream holds what is wanted, or ends when nothing is.
pub(crate) async fn read(stream: &OwnedFd, wanted: Option<&str>) -> String {
    let mut all = Vec::new();
    wait_for("output", || {
        let mut buffer = [0; 4096];
        match rustix::io::read(stream, &mut buffer[..]) {
            Ok(0) | Err(Errno::IO) => return Some(()),
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
            Err(Errno::AGAIN) => {}
            Err(other) => panic!("{other}"),
        }
        wanted.is_some_and(|wanted| String::from_utf8_lossy(&all).contains(wanted)).then_some(())
    })
    .await;
    String::from_utf8(all).unwrap().replace('\r', "")
}

#[tokio::test]
async fn exec_may_differ_from_its_container_in_user_environment_folder_and_rights() {
    let world = world!("overrides");
    let (web, spec, id) = running(&world, "sleep 1000", |_| {}).await;
    let script = "id -u; id -G; echo $HOME $COLOUR; pwd; while read name value; do case $name in CapEff:|Seccomp:) echo $value;; esac; done < /proc/self/status";
    let usual = "00000000a80425fb";
    for (overrides, expected) in [
        (ExecOverrides::default(), format!("0\n0\n/root\n/\n{usual}\n2\n")),
        (
            ExecOverrides {
                user: "web".to_owned(),
                env: vec![("COLOUR".to_owned(), b"blue".to_vec())],
                working_dir: "/tmp".to_owned(),
                privileged: false,
            },
            "33\n33 44\n/var/www blue\n/tmp\n0000000000000000\n2\n".to_owned(),
        ),
        (
            ExecOverrides { user: "7:8".to_owned(), ..ExecOverrides::default() },
            "7\n8\n/\n/\n0000000000000000\n2\n".to_owned(),
        ),
    ] {
        let run = open(&world, (&web, &spec, &id), script, &overrides, None).await.unwrap();
        let said = read(run.streams.stdout.as_ref().unwrap(), None).await;
        assert_eq!(said.replace("/ \n", "/\n").replace("/root \n", "/root\n"), expected, "{overrides:?}");
        assert_eq!(run.ended.await.unwrap().exit_code, 0);
    }
    let privileged = ExecOverrides { privileged: true, ..ExecOverrides::default() };
    let run = open(&world, (&web, &spec, &id), script, &privileged, None).await.unwrap();
    let said = read(run.streams.stdout.as_ref().unwrap(), None).await;
    assert!(!said.contains(usual) && said.ends_with("\n2\n"), "{said}");
    for wrong in ["nobody-here", "-1", "4294967296"] {
        let overrides = ExecOverrides { user: wrong.to_owned(), ..ExecOverrides::default() };
        let failure = open(&world, (&web, &spec, &id), "true", &overrides, None).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::InvalidArgument, "{failure}");
        if wrong == "nobody-here" {
            assert!(failure.message.ends_with("unable to find user nobody-here: no matching entries in passwd file"));
        }
    }
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn exec_on_a_terminal_is_typed_to_and_its_size_follows() {
    let world = world!("execterminal");
    world.add_program("/bin/stty");
    let (web, spec, id) = running(&world, "sleep 1000", |_| {}).await;
    let size = TerminalSize { rows: 30, columns: 100 };
    let script = "stty size; echo $TERM; id -u; read line; echo got $line; stty size; echo > /dev/tty; exit 9";
    // A user may open its terminal anew.
    let overrides = ExecOverrides { user: "web".to_owned(), ..ExecOverrides::default() };
    let run = open(&world, (&web, &spec, &id), script, &overrides, Some(size)).await.unwrap();
    let terminal = run.streams.stdout.unwrap();
    assert_eq!(read(&terminal, Some("33\r\n")).await, "30 100\nxterm\n33\n");
    let larger = rustix::termios::Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal, larger).unwrap();
    rustix::io::write(run.streams.stdin.as_ref().unwrap(), b"words\n").unwrap();
    assert_eq!(run.ended.await.unwrap().exit_code, 9);
    drop(run.streams.stdin);
    assert_eq!(read(&terminal, None).await, "words\ngot words\n50 200\n\n");
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn container_on_a_terminal_outlives_the_daemon_with_it() {
    let mut world = world!("terminal");
    let script = "echo ready; read line; echo got $line; exit 5";
    let edit = |spec: &mut ContainerSpec| (spec.process.terminal, spec.process.stdin) = (true, Stdin::Open);
    let (web, _, id) = running(&world, script, edit).await;
    wait_for("its words", || world.log("one.log").contains("ready").then_some(())).await;
    world.restart();
    world.client.observe(&web.id).await.unwrap();
    world.client.resize(&web.id, &id, TerminalSize { rows: 40, columns: 120 }).await.unwrap();
    let guest = world.client.attach(&web.id, &id, ALL).await.unwrap();
    assert!(guest.streams.stderr.is_none());
    assert_eq!(guest.from, OutputBytes { stdout: "ready\r\n".len() as u64, stderr: 0 });
    let found = rustix::termios::tcgetwinsize(guest.streams.stdin.as_ref().unwrap()).unwrap();
    assert_eq!((found.ws_row, found.ws_col), (40, 120));
    rustix::io::write(guest.streams.stdin.as_ref().unwrap(), b"words\n").unwrap();
    assert_eq!(world.wait_ended(&id).await.exit, Exit::Code { code: 5, oom: false });
    assert_eq!(read(guest.streams.stdout.as_ref().unwrap(), None).await, "words\ngot words\n");
    assert!(world.log("one.log").contains("got words"));
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn interrupt_typed_at_a_terminal_reaches_a_program_below_an_init_once() {
    let world = world!("interrupt");
    let script = "trap 'echo interrupted' INT; echo ready; read a; read a; echo got $a; exit 6";
    let edit = |spec: &mut ContainerSpec| {
        (spec.process.terminal, spec.process.stdin) = (true, Stdin::Open);
        spec.process.init = true;
    };
    let (web, _, id) = running(&world, script, edit).await;
    let guest = world.client.attach(&web.id, &id, ALL).await.unwrap();
    wait_for("its words", || world.log("one.log").contains("ready").then_some(())).await;
    let stdin = guest.streams.stdin.unwrap();
    rustix::io::write(&stdin, &[3]).unwrap();
    wait_for("the trap", || world.log("one.log").contains("interrupted").then_some(())).await;
    rustix::io::write(&stdin, b"one\ntwo\n").unwrap();
    assert_eq!(world.wait_ended(&id).await.exit, Exit::Code { code: 6, oom: false });
    assert_eq!(world.log("one.log").matches("interrupted").count(), 1, "{}", world.log("one.log"));
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn port_of_a_sandbox_is_reached_by_either_loopback() {
    let world = world!("connect");
    let (web, _, id) = running(&world, "sleep 1000", |_| {}).await;
    let inside = world.client.network_namespace(&web.id).await.unwrap();
    // The loopback comes up with the attachment, which is another's work.
    let namespace = std::os::fd::AsFd::as_fd(&inside.namespace);
    orlop_sys::netns::inside(namespace, raise_loopback).unwrap();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = orlop_sys::netns::inside(namespace, || std::net::TcpListener::bind(address)).unwrap().unwrap();
        let port = listener.local_addr().unwrap().port();
        let connected = world.client.connect(&web.id, port).await.unwrap();
        let (accepted, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut &accepted, b"hello").unwrap();
        drop(accepted);
        assert_eq!(read(&connected, None).await, "hello");
        // For all who have it: what other tests start has our descriptors until it is another program.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        let refused = world.client.connect(&web.id, port).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert!(refused.message.contains("127.0.0.1") && refused.message.contains("::1"), "{refused}");
    }
    leave(world, &web, &id).await;
}

fn raise_loopback() {
    let flags = |flags: &str| std::process::Command::new("ip").args(["link", "set", "lo", flags]).status().unwrap();
    assert!(flags("up").success());
}
