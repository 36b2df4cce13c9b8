//! Laws of the encoding: what is sent is what is heard, and no bytes of a peer do harm.

use orlop_wire::exit::{ExitRecord, ExitStatus};
use orlop_wire::frame::*;
use orlop_wire::plan::{
    BindIds, BindSource, CgroupPlan, CgroupWrite, DeviceAccess, IdMap, Join, JoinFrom, Missing, NamespaceKind, Op,
    Plan, Program,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect())
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![any::<u8>().prop_map(ExitStatus::Code), any::<u8>().prop_map(ExitStatus::Signal)]
}

fn record() -> impl Strategy<Value = ExitRecord> {
    (any::<i64>(), any::<i64>(), status(), any::<bool>())
        .prop_map(|(started_ns, finished_ns, status, oom)| ExitRecord { started_ns, finished_ns, status, oom })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        any::<u64>().prop_map(|flags| Op::SetPropagation { flags }),
        any::<u32>().prop_map(|slot| Op::AttachRootfs { slot }),
        (text(), text(), vec((text(), proptest::option::of(text())), 0..3), any::<u64>(), text()).prop_map(
            |(fstype, source, options, attributes, target)| Op::MountNew {
                fstype,
                source,
                options,
                attributes,
                target
            }
        ),
        (text(), any::<bool>(), any::<u64>(), text()).prop_map(|(path, recursive, attributes, target)| Op::Bind {
            source: BindSource::Path(path),
            recursive,
            attributes,
            attributes_recursive: recursive,
            propagation: attributes,
            ids: BindIds::MappedIfPossible,
            target,
        }),
        (any::<u32>(), any::<u32>(), vec(any::<u32>(), 0..4)).prop_map(|(uid, gid, groups)| Op::Identity {
            uid,
            gid,
            groups
        }),
        (vec(any::<u8>(), 0..64), any::<u64>()).prop_map(|(program, flags)| Op::Seccomp { program, flags }),
        Just(Op::PivotRoot),
        Just(Op::Init),
        (any::<u16>(), any::<u16>(), any::<bool>()).prop_map(|(rows, columns, console)| Op::Terminal {
            rows,
            columns,
            console
        }),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let bytes = || vec(vec(any::<u8>(), 0..8), 0..4);
    (any::<u64>(), text(), vec(op(), 0..6), vec(text(), 0..3), bytes(), bytes()).prop_map(
        |(clone_flags, name, ops, candidates, argv, env)| Plan {
            clone_flags,
            join: vec![Join { kind: NamespaceKind::Ipc, from: JoinFrom::Task(name.clone()) }],
            cgroup: Some(CgroupPlan {
                path: name.clone(),
                writes: vec![CgroupWrite {
                    controller: name.clone(),
                    file: name.clone(),
                    value: name,
                    missing: Missing::Ignore,
                }],
                devices: DeviceAccess::Program(argv.concat()),
            }),
            ops,
            program: Program { candidates, argv, env },
            users: Some(IdMap { inside: 0, node: 7, count: 9 }),
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let slot = || proptest::option::of(any::<u32>());
    prop_oneof![
        (text(), text()).prop_map(|(sandbox, dir)| Request::Spawn { sandbox, dir }),
        Just(Request::Shims),
        Just(Request::End),
        (proptest::option::of(text()), vec((text(), text()), 0..3), text(), any::<u64>()).prop_map(
            |(hostname, sysctls, cgroup, shm_bytes)| Request::SetUp(SetUp {
                hostname,
                network: Scope::New,
                ipc: Scope::Host,
                uts: Scope::New,
                sysctls,
                cgroup,
                shm_bytes,
                users: None,
            })
        ),
        Just(Request::NetworkNamespace),
        (text(), plan(), slot(), any::<u32>()).prop_map(|(container, plan, log, line_bytes_max)| {
            Request::Start(Start { container, plan, stdin: Stdin::Once, console: Console::Pipes, log, line_bytes_max })
        }),
        (text(), any::<u8>()).prop_map(|(container, signal)| Request::Signal { container, signal }),
        text().prop_map(|container| Request::Kill { container }),
        text().prop_map(|container| Request::Freeze { container }),
        text().prop_map(|container| Request::Thaw { container }),
        text().prop_map(|container| Request::DropTask { container }),
        (text(), any::<u64>(), plan(), slot(), slot(), slot()).prop_map(
            |(container, exec, plan, stdin, stdout, stderr)| Request::Exec(Exec {
                container,
                exec,
                plan,
                stdin,
                stdout,
                stderr
            })
        ),
        (text(), any::<u64>()).prop_map(|(container, exec)| Request::KillExec { container, exec }),
        Just(Request::List),
        (text(), any::<u32>()).prop_map(|(container, log)| Request::ReopenLog { container, log }),
        Just(Request::ShutDown),
        Just(Request::Shm),
        Just(Request::TcpSockets),
        (text(), any::<bool>(), slot(), slot()).prop_map(|(container, stdin, stdout, stderr)| Request::Attach(
            Attach { container, stdin, stdout, stderr }
        )),
        text().prop_map(|container| Request::CloseStdin { container }),
        (text(), any::<u16>(), any::<u16>()).prop_map(|(container, rows, columns)| Request::Resize {
            container,
            rows,
            columns
        }),
        text().prop_map(|container| Request::FirstProcess { container }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let state = prop_oneof![
        (any::<u32>(), any::<i64>()).prop_map(|(pid, started_ns)| TaskState::Running { pid, started_ns }),
        record().prop_map(TaskState::Ended),
    ];
    prop_oneof![
        Just(Reply::Done),
        Just(Reply::Unsupported),
        (any::<i32>(), text()).prop_map(|(errno, message)| Reply::Error { errno, message }),
        any::<u32>().prop_map(|pid| Reply::Spawned { pid }),
        vec(text(), 0..4).prop_map(Reply::Shims),
        Just(Reply::NetworkNamespace),
        (any::<u32>(), any::<i64>()).prop_map(|(pid, at_ns)| Reply::Started { pid, at_ns }),
        (text(), any::<i32>()).prop_map(|(what, errno)| Reply::Failed(Failed { what, errno, phase: Phase::Exec })),
        any::<u32>().prop_map(|pid| Reply::ExecStarted { pid }),
        vec((text(), state), 0..4).prop_map(Reply::Tasks),
        vec((text(), record()), 0..4).prop_map(Reply::Down),
        Just(Reply::TcpSockets),
        (any::<[u64; 2]>(), any::<[u64; 2]>()).prop_map(|([stdout_from, stderr_from], [stdout_now, stderr_now])| {
            let console = Console::Terminal;
            Reply::Attached(Attached { console, stdout_from, stderr_from, stdout_now, stderr_now })
        }),
        any::<u32>().prop_map(|pid| Reply::FirstProcess { pid }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (text(), record()).prop_map(|(container, record)| Event::Exited { container, record }),
        (text(), any::<u64>(), status()).prop_map(|(container, exec, status)| Event::ExecExited {
            container,
            exec,
            status
        }),
    ]
}

proptest! {
    #[test]
    fn request_sent_is_request_heard(number: u64, request in request()) {
        let body = encode_request(number, &request).unwrap();
        prop_assert_eq!(decode_request(&body), Ok((number, Asked::Known(request))));
    }

    #[test]
    fn reply_sent_is_reply_heard(number: u64, reply in reply()) {
        let body = encode_reply(number, &reply).unwrap();
        prop_assert_eq!(decode_heard(&body), Ok(Heard::Reply { number, reply: Some(reply) }));
    }

    #[test]
    fn event_sent_is_event_heard(event in event()) {
        let body = encode_event(&event).unwrap();
        prop_assert_eq!(decode_heard(&body), Ok(Heard::Event(Some(event))));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..256)) {
        let _ = decode_request(&bytes);
        let _ = decode_heard(&bytes);
        let _ = Hello::decode(&bytes);
    }

    #[test]
    fn damaged_message_is_decoded_or_refused(request in request(), at: prop::sample::Index, with: u8, cut: prop::sample::Index) {
        let mut body = encode_request(1, &request).unwrap();
        let at = at.index(body.len());
        body[at] = with;
        let _ = decode_request(&body);
        let _ = decode_request(&body[..cut.index(body.len())]);
    }

    #[test]
    fn hello_survives_the_wire_and_what_newer_builds_add(min: u32, max: u32, features: u64, more in vec(any::<u8>(), 0..9)) {
        let hello = Hello { min, max, features };
        let bytes = [hello.encode(), more].concat();
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));
    }

    #[test]
    fn both_sides_agree_on_the_same_version(a: (u32, u32), b: (u32, u32)) {
        let a = Hello { min: a.0, max: a.1, features: 0 };
        let b = Hello { min: b.0, max: b.1, features: 0 };
        prop_assert_eq!(a.agree(&b).ok(), b.agree(&a).ok());
    }
}

/// Tags stand for themselves on the wire: renumbering one breaks every shim that is running.
#[test]
fn first_and_last_tags_stay_where_they_are() {
    let spawn = Request::Spawn { sandbox: String::new(), dir: String::new() };
    assert_eq!(encode_request(7, &spawn).unwrap(), [7, 0, 0, 0]);
    assert_eq!(encode_request(7, &Request::ShutDown).unwrap(), [7, 15]);
    assert_eq!(encode_reply(7, &Reply::Down(Vec::new())).unwrap(), [0, 7, 10, 0]);
    assert_eq!(decode_heard(&[0, 7, 10, 0]), Ok(Heard::Reply { number: 7, reply: Some(Reply::Down(Vec::new())) }));
    let process = Request::FirstProcess { container: String::new() };
    assert_eq!(encode_request(7, &process).unwrap(), [7, 21, 0]);
    assert_eq!(encode_reply(7, &Reply::FirstProcess { pid: 1 }).unwrap(), [0, 7, 14, 1]);
}

#[test]
fn what_a_newer_build_says_is_unknown_and_not_an_error() {
    assert_eq!(decode_request(&[7, 22, 1, 2, 3]), Ok((7, Asked::Unknown)));
    assert_eq!(decode_heard(&[0, 7, 15, 9]), Ok(Heard::Reply { number: 7, reply: None }));
    assert_eq!(decode_heard(&[1, 2, 9]), Ok(Heard::Event(None)));
}

#[test]
fn request_that_can_not_be_read_still_has_its_number() {
    assert_eq!(decode_request(&[7, 3]), Ok((7, Asked::Unknown)));
    assert_eq!(decode_request(&[7]), Ok((7, Asked::Unknown)));
    assert!(decode_request(&[]).is_err());
}

#[test]
fn claimed_length_does_not_decide_what_is_allocated() {
    // A list of shims that says it has 2^60 elements.
    let mut body = vec![0, 7, 4];
    body.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
    assert!(decode_heard(&body).is_err());
}

#[test]
fn message_that_is_too_large_is_refused_by_its_sender() {
    let request = Request::Kill { container: "x".repeat(BODY_BYTES_MAX) };
    assert!(matches!(encode_request(1, &request), Err(WireError::TooLarge(_))));
}

#[test]
fn version_is_the_newest_both_speak() {
    let hello = |min, max| Hello { min, max, features: 0 };
    for (ours, theirs, expected) in [
        (hello(1, 1), hello(1, 1), Some(1)),
        (hello(1, 2), hello(1, 1), Some(1)),
        (hello(2, 3), hello(1, 2), Some(2)),
        (hello(2, 2), hello(1, 1), None),
        (hello(1, 1), hello(2, 2), None),
    ] {
        assert_eq!(ours.agree(&theirs).ok(), expected);
    }
}
