//! Terminals, attached clients, sockets of a sandbox.

use crate::client::Client;
use crate::containers::{exited, log_lines, must_start, try_start};
use crate::node::{Node, wait_until};
use crate::plans::{empty_root, exec, mount, plan, start};
use orlop_wire::exit::ExitStatus;
use orlop_wire::frame::{Attach, Attached, CLIENTS_MAX, Console, Event, Reply, Request, Stdin};
use orlop_wire::plan::{Op, Plan};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::tcgetwinsize;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

const DEVPTS: [(&str, &str); 2] = [("ptmxmode", "0666"), ("mode", "0620")];

/// Gives a container a devpts and a terminal.
fn on_terminal(mut plan: Plan) -> Plan {
    let pivot = plan.ops.iter().position(|op| *op == Op::PivotRoot).unwrap();
    plan.ops.insert(pivot, mount("devpts", "/dev/pts", &DEVPTS));
    plan.ops.insert(pivot + 2, Op::Terminal { rows: 30, columns: 100, console: true });
    plan
}

/// Starts a container that takes standard input, with a log.
fn start_open(client: &mut Client, node: &Node, plan: Plan, console: Console) -> u32 {
    let log = File::options().append(true).create(true).open(node.log("c")).unwrap();
    let root = empty_root();
    let mut start = start("c", plan, Some(1));
    (start.stdin, start.console) = (Stdin::Open, console);
    match client.ask_with(&Request::Start(start), &[root.as_fd(), log.as_fd()]).0 {
        Reply::Started { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

/// A client of a container: where it sends, what it hears.
struct Guest {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    attached: Attached,
}

fn try_attach(client: &mut Client, stdin: bool) -> Result<Guest, Reply> {
    let (stdout, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let request = Attach { container: "c".to_owned(), stdin, stdout: Some(0), stderr: None };
    match client.ask_with(&Request::Attach(request), &[end.as_fd()]) {
        (Reply::Attached(attached), mut slots) => Ok(Guest { stdin: slots.pop(), stdout, attached }),
        (other, _) => Err(other),
    }
}

#[track_caller]
fn attach(client: &mut Client, stdin: bool) -> Guest {
    try_attach(client, stdin).unwrap_or_else(|other| panic!("{other:?}"))
}

/// Reads what is there; says whether that was the end.
fn read_on(stream: &OwnedFd, all: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(stream, &mut buffer[..]) {
            Ok(0) | Err(Errno::IO) => return true,
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
            Err(Errno::AGAIN) => return false,
            Err(other) => panic!("{other}"),
        }
    }
}

#[track_caller]
fn read_until(stream: &OwnedFd, wanted: &str) -> String {
    let mut all = Vec::new();
    let mut seen = || {
        read_on(stream, &mut all);
        String::from_utf8_lossy(&all).contains(wanted)
    };
    wait_until(&format!("{wanted:?} is read"), &mut seen);
    String::from_utf8(all).unwrap()
}

#[track_caller]
fn read_all(stream: &OwnedFd) -> String {
    let mut all = Vec::new();
    wait_until("the stream ends", || read_on(stream, &mut all));
    String::from_utf8(all).unwrap()
}

// === terminals ===

#[test]
fn exec_on_a_terminal_leads_a_session_on_it_and_its_master_travels() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let mut first = plan(&node.cgroup, "c", &["sleep", "1000"]);
    first.ops.insert(9, mount("devpts", "/dev/pts", &DEVPTS));
    assert!(matches!(try_start(&mut client, &node, "c", first), Reply::Started { .. }));
    let script = "tty; stty size; readlink /proc/self/fd/1; test -t 2 && echo err; cat < /dev/pts/0 | head -n1; exit 3";
    let mut asked = exec("c", 1, &["sh", "-c", script]);
    asked.plan.ops[0] = Op::Terminal { rows: 30, columns: 100, console: false };
    (asked.stdout, asked.stderr) = (None, None);
    let (reply, mut slots) = client.ask_with(&Request::Exec(asked), &[]);
    assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
    let master = slots.pop().expect("its master");
    let text = read_until(&master, "err\r\n");
    assert_eq!(text.replace('\r', ""), "/dev/pts/0\n30 100\n/dev/pts/0\nerr\n");
    File::from(master.try_clone().unwrap()).write_all(b"typed\n").unwrap();
    assert!(read_until(&master, "typed\r\ntyped").contains("typed"));
    // The typed end of input.
    File::from(master.try_clone().unwrap()).write_all(&[4]).unwrap();
    assert!(matches!(client.event(), Event::ExecExited { status: ExitStatus::Code(3), .. }));
    read_all(&master);
}

#[test]
fn dropped_master_hangs_up() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let mut first = plan(&node.cgroup, "c", &["sleep", "1000"]);
    first.ops.insert(9, mount("devpts", "/dev/pts", &DEVPTS));
    assert!(matches!(try_start(&mut client, &node, "c", first), Reply::Started { .. }));
    let mut asked = exec("c", 1, &["sleep", "1000"]);
    asked.plan.ops[0] = Op::Terminal { rows: 0, columns: 0, console: false };
    (asked.stdout, asked.stderr) = (None, None);
    let (_, slots) = client.ask_with(&Request::Exec(asked), &[]);
    drop(slots);
    assert!(matches!(client.event(), Event::ExecExited { status: ExitStatus::Signal(1), .. }));
}

#[test]
fn attack_devpts_that_is_none_gives_no_terminal() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let script = "mkdir -p /dev/pts; ln -s /dev/null /dev/pts/ptmx; touch /tmp/ready; sleep 1000";
    let pid = must_start(&mut client, &node, "c", &["sh", "-c", script]);
    wait_until("the container is ready", || std::fs::exists(format!("/proc/{pid}/root/tmp/ready")).unwrap());
    let mut asked = exec("c", 1, &["true"]);
    asked.plan.ops[0] = Op::Terminal { rows: 0, columns: 0, console: false };
    (asked.stdout, asked.stderr) = (None, None);
    let reply = client.ask(&Request::Exec(asked));
    let Reply::Failed(failed) = reply else { panic!("{reply:?}") };
    assert_eq!((failed.errno, failed.what.as_str()), (libc::ELOOP, "open a terminal"));
}

#[test]
fn container_on_a_terminal_is_logged_resized_and_typed_to() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let script = "tty; stty size; test /dev/console -ef /dev/pts/0 && echo console; read line; echo got $line; stty size; exit 4";
    let plan = on_terminal(plan(&node.cgroup, "c", &["sh", "-c", script]));
    start_open(&mut client, &node, plan, Console::Terminal);
    wait_until("it has spoken", || log_lines(&node, "c").len() == 3);
    client.done(&Request::Resize { container: "c".to_owned(), rows: 40, columns: 120 });
    let guest = attach(&mut client, true);
    assert_eq!(guest.attached.console, Console::Terminal);
    let stdin = guest.stdin.unwrap();
    let size = tcgetwinsize(&stdin).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (40, 120));
    File::from(stdin).write_all(b"words\n").unwrap();
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(4));
    assert_eq!(read_all(&guest.stdout), "words\r\ngot words\r\n40 120\r\n");
    // As the terminal gave it.
    assert!(std::fs::read_to_string(node.log("c")).unwrap().contains(" stdout F got words\r\n"));
    let expected = ["/dev/pts/0", "30 100", "console", "words", "got words", "40 120"];
    assert_eq!(log_lines(&node, "c"), expected.map(|line| format!("stdout F {line}")));
    assert!(matches!(
        client.ask(&Request::Resize { container: "c".to_owned(), rows: 1, columns: 1 }),
        Reply::Error { errno: libc::ESRCH, .. }
    ));
}

#[test]
fn terminal_that_is_closed_for_a_while_goes_on_being_logged() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let script = "echo one; exec 0<&- 1>&- 2>&-; sleep 0.1; exec 1>/dev/pts/0; echo two";
    let plan = on_terminal(plan(&node.cgroup, "c", &["sh", "-c", script]));
    start_open(&mut client, &node, plan, Console::Terminal);
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(0));
    assert_eq!(log_lines(&node, "c"), ["stdout F one", "stdout F two"]);
}

// === clients ===

#[test]
fn client_begins_right_after_what_the_log_has() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let script = "printf 'one\\ntw'; read x; printf 'o\\nthree\\n'; read x";
    let plan = plan(&node.cgroup, "c", &["sh", "-c", script]);
    start_open(&mut client, &node, plan, Console::Pipes);
    wait_until("it has spoken", || log_lines(&node, "c").len() == 1);
    // What is in no line yet may still be on its way to the shim.
    let guest = attach(&mut client, true);
    assert_eq!((guest.attached.stdout_from, guest.attached.stderr_from), (4, 0));
    assert_eq!(read_until(&guest.stdout, "tw"), "tw");
    let mut stdin = File::from(guest.stdin.unwrap());
    stdin.write_all(b"\n").unwrap();
    assert_eq!(read_until(&guest.stdout, "three\n"), "o\nthree\n");
    let late = attach(&mut client, false);
    assert_eq!(late.attached.stdout_from, 14);
    stdin.write_all(b"\n").unwrap();
    exited(&mut client, "c");
    assert_eq!((read_all(&guest.stdout), read_all(&late.stdout)), (String::new(), String::new()));
}

#[test]
fn client_that_does_not_read_holds_up_neither_program_nor_log_nor_others() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let plan = plan(&node.cgroup, "c", &["sh", "-c", "read x; seq 1 200000; echo end"]);
    start_open(&mut client, &node, plan, Console::Pipes);
    let stuck = attach(&mut client, false);
    let quick = attach(&mut client, true);
    let reader = std::thread::spawn(move || {
        File::from(quick.stdin.unwrap()).write_all(b"\n").unwrap();
        read_all(&quick.stdout)
    });
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(0));
    let whole: String = (1..=200_000).map(|number| format!("{number}\n")).chain(["end\n".to_owned()]).collect();
    let heard = reader.join().unwrap();
    // A reader that is late by more than its pipe is cut off, and has no gap.
    assert!(whole.starts_with(&heard));
    let stuck = read_all(&stuck.stdout);
    assert!(stuck.len() < whole.len() && whole.starts_with(&stuck));
    let log: Vec<String> =
        log_lines(&node, "c").iter().map(|line| format!("{}\n", &line["stdout F ".len()..])).collect();
    assert!(log.concat() == whole);
}

#[test]
fn thousand_clients_leave_nothing_and_too_many_at_once_are_refused() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let plan = plan(&node.cgroup, "c", &["sleep", "1000"]);
    start_open(&mut client, &node, plan, Console::Pipes);
    for _ in 0..1000 {
        attach(&mut client, true);
    }
    let guests: Vec<Guest> = (0..CLIENTS_MAX).map(|_| attach(&mut client, false)).collect();
    let Err(refused) = try_attach(&mut client, false) else { panic!("one too many") };
    assert!(matches!(refused, Reply::Error { errno: libc::EAGAIN, .. }), "{refused:?}");
    drop(guests);
    attach(&mut client, false);
}

#[test]
fn closed_input_is_an_end_once_every_client_has_left_it() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let plan = plan(&node.cgroup, "c", &["sh", "-c", "cat; echo end"]);
    start_open(&mut client, &node, plan, Console::Pipes);
    let guest = attach(&mut client, true);
    let close = Request::CloseStdin { container: "c".to_owned() };
    client.done(&close);
    client.done(&close);
    let mut stdin = File::from(guest.stdin.unwrap());
    stdin.write_all(b"last words\n").unwrap();
    let Err(refused) = try_attach(&mut client, true) else { panic!("a closed input") };
    assert!(matches!(refused, Reply::Error { errno: libc::EBUSY, .. }), "{refused:?}");
    drop(stdin);
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Code(0));
    assert_eq!(read_all(&guest.stdout), "last words\nend\n");
}

#[test]
fn input_that_was_not_asked_for_and_a_container_that_is_not_there_are_refused() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let Err(refused) = try_attach(&mut client, true) else { panic!("no input") };
    assert!(matches!(refused, Reply::Error { errno: libc::EINVAL, .. }), "{refused:?}");
    let unsent = Attach { container: "c".to_owned(), stdin: false, stdout: Some(7), stderr: None };
    assert!(matches!(client.ask(&Request::Attach(unsent)), Reply::Error { errno: libc::EINVAL, .. }));
    let nobody = Attach { container: "nobody".to_owned(), stdin: false, stdout: None, stderr: None };
    assert!(matches!(client.ask(&Request::Attach(nobody)), Reply::Error { errno: libc::ENOENT, .. }));
}

// === the rest ===

#[test]
fn sockets_are_of_the_sandbox_and_the_first_process_is_held() {
    let mut node = Node::new();
    let mut client = node.sandbox();
    let (reply, slots) = client.ask_with(&Request::TcpSockets, &[]);
    assert_eq!((reply, slots.len()), (Reply::TcpSockets, 2));
    // The loopback of a fresh network is down: nothing can be reached, though the node's can.
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let refused = rustix::net::connect(&slots[0], &address).unwrap_err();
    assert_eq!(refused, Errno::NETUNREACH);
    let pid = must_start(&mut client, &node, "c", &["sleep", "1000"]);
    let request = Request::FirstProcess { container: "c".to_owned() };
    let (reply, slots) = client.ask_with(&request, &[]);
    assert_eq!(reply, Reply::FirstProcess { pid });
    orlop_sys::process::send_signal(slots[0].as_fd(), 9).unwrap();
    assert_eq!(exited(&mut client, "c").status, ExitStatus::Signal(9));
    assert!(matches!(client.ask(&request), Reply::Error { errno: libc::ESRCH, .. }));
}
