//! bpf(2), as far as device rules of cgroup v2 need it: load a program, attach it, see what is attached.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction: `struct bpf_insn` of include/uapi/linux/bpf.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u8,
    /// The register changed or looked at in the low half, the other one in the high half.
    pub registers: u8,
    /// Of a jump or an address.
    pub offset: i16,
    /// A number.
    pub number: i32,
}

/// Most programs attached to one cgroup: `BPF_CGROUP_MAX_PROGS`.
const ATTACHED_MAX: usize = 64;

// bpf(2): commands, program types, attach types, flags.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// The license that the kernel is told; no helper that asks for one is called.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";
/// What bpftool shows.
const NAME: &[u8; 16] = b"orlop_devices\0\0\0";

// === impl Instruction ===

impl Instruction {
    /// One with a register and a number.
    #[must_use]
    pub const fn with_number(code: u8, register: u8, number: i32) -> Self {
        Self { code, registers: register, offset: 0, number }
    }

    /// One that changes a register from another.
    #[must_use]
    pub const fn move_register(code: u8, to: u8, from: u8) -> Self {
        Self { code, registers: from << 4 | to, offset: 0, number: 0 }
    }

    /// One that reads memory behind a register.
    #[must_use]
    pub const fn load(code: u8, to: u8, base: u8, offset: i16) -> Self {
        Self { code, registers: base << 4 | to, offset, number: 0 }
    }

    /// One that compares a register with a number, and may go on that many instructions later.
    #[must_use]
    pub const fn jump(code: u8, register: u8, number: i32, offset: i16) -> Self {
        Self { code, registers: register, offset, number }
    }

    /// Returns it as the kernel reads it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let [offset_low, offset_high] = self.offset.to_ne_bytes();
        let [a, b, c, d] = self.number.to_ne_bytes();
        [self.code, self.registers, offset_low, offset_high, a, b, c, d]
    }

    /// The same backwards.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [code, registers, offset_low, offset_high, a, b, c, d] = bytes;
        let offset = i16::from_ne_bytes([offset_low, offset_high]);
        Self { code, registers, offset, number: i32::from_ne_bytes([a, b, c, d]) }
    }
}

// === programs ===

/// The part of `union bpf_attr` that loading reads.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Loads a program that decides about devices.
///
/// # Errors
/// `EINVAL` when the kernel has no such programs, or takes this one for wrong; `EPERM`; else what bpf(2) says.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut load = Load {
        program_type: TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: program.as_ptr().addr() as u64,
        license: LICENSE.as_ptr().addr() as u64,
        name: *NAME,
        ..Load::default()
    };
    // SAFETY: `load` is laid out as the kernel reads it, and points to `program.len()` instructions and to a C string that
    // live; the kernel copies both and writes through none of the pointers.
    // WHY: neither nix nor rustix has bpf(2).
    let fd = unsafe { bpf(PROG_LOAD, (&raw mut load).cast(), size_of::<Load>()) }?;
    // SAFETY: the kernel made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The part of `union bpf_attr` that attaching and detaching read.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// Attaches a program to a cgroup of the unified hierarchy, beside others or, at once, in the place of one.
///
/// # Errors
/// What bpf(2) says.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    instead_of: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let flags = ALLOW_MULTI | if instead_of.is_some() { REPLACE } else { 0 };
    attach(PROG_ATTACH, cgroup, program, flags, instead_of)
}

/// Takes a program off a cgroup.
///
/// # Errors
/// What bpf(2) says.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    attach(PROG_DETACH, cgroup, program, 0, None)
}

fn attach(
    command: libc::c_int,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attach = Attach {
        target: number(cgroup),
        program: number(program),
        kind: ATTACH_CGROUP_DEVICE,
        flags,
        replaced: replaced.map_or(0, number),
    };
    // SAFETY: `attach` is laid out as the kernel reads it and holds no pointer; the descriptors in it are borrowed.
    // WHY: as above.
    unsafe { bpf(command, (&raw mut attach).cast(), size_of::<Attach>()) }.map(drop)
}

/// The part of `union bpf_attr` that a query reads and writes: to its end, since newer kernels write there unasked.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Returns the device programs attached to a cgroup itself, not those of its parents.
///
/// # Errors
/// What bpf(2) says.
pub fn attached_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; ATTACHED_MAX];
    let mut query = Query {
        target: number(cgroup),
        kind: ATTACH_CGROUP_DEVICE,
        ids: ids.as_mut_ptr().addr() as u64,
        count: u32::try_from(ids.len()).expect("sixty-four"),
        ..Query::default()
    };
    // SAFETY: `query` is laid out as the kernel reads it; `ids` lives and has room for the `count` numbers that the kernel
    // may write.
    // WHY: as above.
    unsafe { bpf(PROG_QUERY, (&raw mut query).cast(), size_of::<Query>()) }?;
    let mut programs = Vec::new();
    for id in ids.into_iter().take(usize::try_from(query.count).unwrap_or(0)) {
        match program_by_id(id) {
            Ok(program) => programs.push(program),
            // Detached meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(programs)
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // The id, the next id and flags.
    let mut wanted = [id, 0, 0];
    // SAFETY: three numbers, laid out as the kernel reads them, without a pointer.
    // WHY: as above.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, (&raw mut wanted).cast(), size_of_val(&wanted)) }?;
    // SAFETY: the kernel made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` must point to `bytes` bytes laid out as `command` wants them, and every pointer in them to what it says.
unsafe fn bpf(command: libc::c_int, attributes: *mut libc::c_void, bytes: usize) -> io::Result<libc::c_int> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, bytes) };
    libc::c_int::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_bytes_and_back() {
        let one = Instruction { code: 0x56, registers: 0x23, offset: -2, number: i32::MIN + 7 };
        assert_eq!(Instruction::from_bytes(one.to_bytes()), one);
        assert_eq!(one.to_bytes()[..2], [0x56, 0x23]);
    }
}
