//! The default filter, as the kernel takes and obeys it. A filter is one thread's, and ends with it.

#![allow(clippy::unwrap_used, reason = "tests, their helpers included")]

use orlop_plan::seccomp::{compile, default_profile};
use orlop_sys::child::{Instruction, install_filter, no_new_privileges};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

fn instructions(program: &[u8]) -> Vec<Instruction> {
    let (records, rest) = program.as_chunks::<8>();
    assert!(rest.is_empty());
    let field = |a: u8, b: u8| u16::from_ne_bytes([a, b]);
    records
        .iter()
        .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
            code: field(c0, c1),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect()
}

/// Does something on a thread that has the default filter for a set of capabilities.
fn filtered<T: Send + 'static>(capabilities: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    let filter = compile(&default_profile(capabilities)).unwrap();
    let confined = move || {
        no_new_privileges().unwrap();
        install_filter(&instructions(&filter.program), filter.flags).unwrap();
        work()
    };
    std::thread::spawn(confined).join().unwrap()
}

#[test]
fn kernel_takes_the_default_filter_and_ordinary_work_goes_on() {
    filtered(0, || {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "b").unwrap();
        // A thread and a process are both made by clone, since clone3 is answered ENOSYS.
        std::thread::spawn(|| ()).join().unwrap();
        assert!(std::process::Command::new("true").status().unwrap().success());
        socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    });
}

#[test]
fn kernel_refuses_what_the_default_filter_refuses() {
    let open = |family| socket(AddressFamily::from_raw(family), SocketType::SEQPACKET, None).map(drop);
    assert_ne!(open(38), Err(Errno::PERM), "AF_ALG without a filter");
    let refused = filtered(0, move || {
        let mount = rustix::mount::fsopen(c"tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).map(drop);
        let root = rustix::process::chroot(c"/");
        [open(38), open(40), mount, root]
    });
    assert_eq!(refused, [Err(Errno::PERM); 4]);
    // With the capability it reaches the kernel.
    assert_eq!(filtered(u64::MAX, || rustix::process::chroot(c"/does not exist")), Err(Errno::NOENT));
}
