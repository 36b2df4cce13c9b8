//! Filters are run by an interpreter of classic BPF and compared with the profile read as it is written.

use super::*;
use crate::capability;
use crate::oci::{LinuxSyscall, SeccompArg};
use proptest::prelude::*;

const NATIVE: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7FFF_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

fn call(name: &str, args: &[u64]) -> Call {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Call { arch: NATIVE, number: syscalls::number(name).unwrap(), args: all }
}

/// Runs a program the way the kernel does; anything that its checker would refuse panics.
fn run(program: &[u8], call: &Call) -> u32 {
    let mut data = [0_u8; 64];
    data[0..4].copy_from_slice(&call.number.to_le_bytes());
    data[4..8].copy_from_slice(&call.arch.to_le_bytes());
    for (at, arg) in call.args.iter().enumerate() {
        data[16 + 8 * at..24 + 8 * at].copy_from_slice(&arg.to_le_bytes());
    }
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    loop {
        let raw = &program[8 * at..8 * at + 8];
        let code = u16::from_ne_bytes([raw[0], raw[1]]);
        let (yes, no) = (usize::from(raw[2]), usize::from(raw[3]));
        let k = u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]);
        at += 1;
        let mut jump = |condition: bool| at += if condition { yes } else { no };
        match code {
            0x20 => accumulator = u32::from_le_bytes(data[k as usize..k as usize + 4].try_into().unwrap()),
            0x54 => accumulator &= k,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x05 => at += k as usize,
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// What a profile says, read as it is written.
fn expected(profile: &LinuxSeccomp, call: &Call) -> u32 {
    let verdict = |action: &str, errno: Option<u32>| match action {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        other => panic!("{other}"),
    };
    let default = verdict(&profile.default_action, profile.default_errno_ret);
    match (call.arch, call.number) {
        (NATIVE, 0x4000_0000..) | (I386, _) => return ENOSYS,
        (NATIVE, number) if number > syscalls::NEWEST => return if default == ALLOW { default } else { ENOSYS },
        (NATIVE, _) => {}
        _ => return 0x8000_0000,
    }
    let holds = |arg: &SeccompArg| {
        let (is, value) = (call.args[arg.index as usize], arg.value);
        match arg.op.as_str() {
            "SCMP_CMP_EQ" => is == value,
            "SCMP_CMP_NE" => is != value,
            "SCMP_CMP_LT" => is < value,
            "SCMP_CMP_LE" => is <= value,
            "SCMP_CMP_GT" => is > value,
            "SCMP_CMP_GE" => is >= value,
            "SCMP_CMP_MASKED_EQ" => is & value == arg.value_two,
            other => panic!("{other}"),
        }
    };
    let matches = |rule: &LinuxSyscall| {
        let mut indexes: Vec<_> = rule.args.iter().map(|arg| arg.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let named = rule.names.iter().any(|name| syscalls::number(name) == Some(call.number));
        let any = indexes.len() < rule.args.len();
        named && if any { rule.args.iter().any(holds) } else { rule.args.iter().all(holds) }
    };
    let rule = profile.syscalls.iter().find(|rule| matches(rule));
    rule.map_or(default, |rule| verdict(&rule.action, rule.errno_ret))
}

#[track_caller]
fn check(capabilities: &[&str], call: Call, verdict: u32) {
    let held: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
    let profile = default_profile(capability::mask(&held).0);
    assert_eq!(run(&compile(&profile).unwrap().program, &call), verdict, "{call:x?}");
}

#[test]
fn default_profile_allows_what_programs_need() {
    for name in
        ["read", "execve", "exit_group", "rt_sigreturn", "openat", "futex", "mseal", "ptrace", "seccomp", "fork"]
    {
        check(&[], call(name, &[]), ALLOW);
    }
}

#[test]
fn default_profile_refuses_what_reaches_the_node_until_the_capability_is_there() {
    for (name, capability) in [
        ("mount", "SYS_ADMIN"),
        ("setns", "SYS_ADMIN"),
        ("open_by_handle_at", "DAC_READ_SEARCH"),
        ("init_module", "SYS_MODULE"),
        ("reboot", "SYS_BOOT"),
        ("settimeofday", "SYS_TIME"),
        ("bpf", "BPF"),
        ("bpf", "SYS_ADMIN"),
        ("syslog", "SYSLOG"),
        ("chroot", "SYS_CHROOT"),
        ("mbind", "SYS_NICE"),
        ("iopl", "SYS_RAWIO"),
    ] {
        check(&[], call(name, &[]), EPERM);
        check(&[capability], call(name, &[]), ALLOW);
    }
}

#[test]
fn default_profile_never_gives_keyrings_io_uring_and_page_fault_handling() {
    let all = capability::names(capability::ALL);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for name in
        ["add_key", "keyctl", "request_key", "io_uring_setup", "io_uring_enter", "userfaultfd", "kexec_load", "swapon"]
    {
        check(&all, call(name, &[]), EPERM);
    }
}

#[test]
fn default_profile_blocks_sockets_that_reach_past_the_sandbox() {
    for (family, verdict) in
        [(2, ALLOW), (1, ALLOW), (16, ALLOW), (37, ALLOW), (39, ALLOW), (41, ALLOW), (38, EPERM), (40, EPERM)]
    {
        check(&[], call("socket", &[family, 1, 0]), verdict);
        check(&["SYS_ADMIN"], call("socket", &[family | 1 << 32, 1, 0]), verdict);
    }
}

#[test]
fn default_profile_lets_threads_be_made_and_namespaces_not() {
    check(&[], call("clone", &[0x003D_0F00]), ALLOW);
    check(&[], call("clone", &[0x11]), ALLOW);
    for namespace in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        check(&[], call("clone", &[namespace | 0x11]), EPERM);
        check(&[], call("unshare", &[namespace]), EPERM);
        check(&["SYS_ADMIN"], call("clone", &[namespace | 0x11]), ALLOW);
    }
    check(&[], call("unshare", &[0x400]), ALLOW);
    check(&[], call("unshare", &[0x80]), EPERM);
    check(&[], call("clone3", &[]), ENOSYS);
    check(&["SYS_ADMIN"], call("clone3", &[]), ALLOW);
}

#[test]
fn default_profile_lets_a_few_personalities_through() {
    for (value, verdict) in
        [(0, ALLOW), (8, ALLOW), (0x2_0008, ALLOW), (0xFFFF_FFFF, ALLOW), (0x40_0000, EPERM), (1 << 40, EPERM)]
    {
        check(&[], call("personality", &[value]), verdict);
    }
}

#[test]
fn calls_of_other_architectures_reach_no_rule() {
    let allow_all = LinuxSeccomp { default_action: "SCMP_ACT_ALLOW".into(), ..LinuxSeccomp::default() };
    let program = compile(&allow_all).unwrap().program;
    let with = |arch, number| run(&program, &Call { arch, number, args: [0; 6] });
    assert_eq!(with(NATIVE, 0), ALLOW);
    assert_eq!(with(NATIVE, 0x4000_0000), ENOSYS);
    assert_eq!(with(NATIVE, u32::MAX), ENOSYS);
    assert_eq!(with(I386, 102), ENOSYS);
    assert_eq!(with(0xC000_00B7, 0), 0x8000_0000);
}

#[test]
fn call_from_the_future_is_answered_as_a_kernel_without_it_would() {
    let future = Call { arch: NATIVE, number: syscalls::NEWEST + 1, args: [0; 6] };
    check(&[], future, ENOSYS);
    let allow_all = LinuxSeccomp { default_action: "SCMP_ACT_ALLOW".into(), ..LinuxSeccomp::default() };
    assert_eq!(run(&compile(&allow_all).unwrap().program, &future), ALLOW);
}

#[test]
fn every_call_of_the_default_profile_exists() {
    assert_eq!(compile(&default_profile(capability::ALL)).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn bad_profiles_are_refused_by_name() {
    let rule = |action: &str, op: &str, index| LinuxSeccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![LinuxSyscall {
            names: vec!["read".into()],
            action: action.into(),
            args: vec![SeccompArg { index, op: op.into(), ..SeccompArg::default() }],
            ..LinuxSyscall::default()
        }],
        ..LinuxSeccomp::default()
    };
    let refused = |profile| compile(&profile).unwrap_err();
    assert!(matches!(refused(rule("SCMP_ACT_FLY", "SCMP_CMP_EQ", 0)), BadProfile::Action(_)));
    assert!(matches!(refused(rule("SCMP_ACT_NOTIFY", "SCMP_CMP_EQ", 0)), BadProfile::Notify(_)));
    assert!(matches!(refused(rule("SCMP_ACT_ALLOW", "EQ", 0)), BadProfile::Comparison(_)));
    assert!(matches!(refused(rule("SCMP_ACT_ALLOW", "SCMP_CMP_EQ", 6)), BadProfile::Argument { index: 6, .. }));
    assert!(matches!(refused(LinuxSeccomp::default()), BadProfile::Action(_)));
}

#[test]
fn profile_that_the_kernel_would_not_take_is_refused() {
    let args =
        (0..6).map(|index| SeccompArg { index, value: u64::MAX / 3, op: "SCMP_CMP_LT".into(), value_two: 0 }).collect();
    let rule = LinuxSyscall { names: vec!["read".into()], action: "SCMP_ACT_LOG".into(), args, errno_ret: None };
    let profile =
        LinuxSeccomp { default_action: "SCMP_ACT_ALLOW".into(), syscalls: vec![rule; 200], ..LinuxSeccomp::default() };
    assert!(matches!(compile(&profile), Err(BadProfile::TooLarge(_))));
}

// === The law ===

const OPS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GT", "SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ"];

/// Few values with interesting neighbours, so that calls and rules meet.
fn value() -> impl Strategy<Value = u64> {
    let edges =
        vec![0, 1, 2, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 32, (1 << 32) + 1, 0x1_FFFF_FFFF, u64::MAX - 1, u64::MAX, 1 << 63];
    prop_oneof![4 => prop::sample::select(edges), 1 => any::<u64>()]
}

fn condition() -> impl Strategy<Value = SeccompArg> {
    (0_u32..6, prop::sample::select(OPS.to_vec()), value(), value()).prop_map(|(index, op, value, value_two)| {
        SeccompArg {
            index,
            value,
            // Else most masks match nothing.
            value_two: value_two & value,
            op: op.into(),
        }
    })
}

fn action() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "SCMP_ACT_ALLOW".to_owned(),
        "SCMP_ACT_ERRNO".to_owned(),
        "SCMP_ACT_KILL_PROCESS".to_owned(),
    ])
}

const NAMES: [&str; 12] = [
    "read",
    "write",
    "open",
    "close",
    "getpid",
    "socket",
    "clone",
    "uname",
    "rseq",
    "io_uring_setup",
    "clone3",
    "file_setattr",
];

fn rule() -> impl Strategy<Value = LinuxSyscall> {
    let names = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4);
    let errno = prop::option::of(1_u32..4096);
    (names, action(), errno, prop::collection::vec(condition(), 0..4)).prop_map(|(names, action, errno_ret, args)| {
        LinuxSyscall { names: names.into_iter().map(str::to_owned).collect(), action, errno_ret, args }
    })
}

fn profile() -> impl Strategy<Value = LinuxSeccomp> {
    (action(), prop::option::of(1_u32..4096), prop::collection::vec(rule(), 0..40)).prop_map(
        |(default_action, default_errno_ret, syscalls)| LinuxSeccomp {
            default_action,
            default_errno_ret,
            syscalls,
            ..LinuxSeccomp::default()
        },
    )
}

fn any_call() -> impl Strategy<Value = Call> {
    let number = prop_oneof![
        8 => prop::sample::select(NAMES.to_vec()).prop_map(|name| syscalls::number(name).unwrap()),
        2 => 0_u32..600,
        1 => any::<u32>(),
    ];
    let arch = prop_oneof![10 => Just(NATIVE), 1 => Just(I386), 1 => any::<u32>()];
    (arch, number, prop::array::uniform6(value())).prop_map(|(arch, number, args)| Call { arch, number, args })
}

proptest! {
    #[test]
    fn filter_says_what_the_profile_says(profile in profile(), calls in prop::collection::vec(any_call(), 1..60)) {
        // A profile that is too large is refused, never cut.
        if let Ok(filter) = compile(&profile) {
            for call in calls {
                prop_assert_eq!(run(&filter.program, &call), expected(&profile, &call), "{:x?}", call);
            }
        }
    }

    #[test]
    fn default_filter_says_what_the_default_profile_says(capabilities in any::<u64>(), calls in prop::collection::vec(any_call(), 1..200)) {
        let profile = default_profile(capabilities);
        let filter = compile(&profile).unwrap();
        for call in calls {
            prop_assert_eq!(run(&filter.program, &call), expected(&profile, &call), "{:x?}", call);
        }
    }
}
