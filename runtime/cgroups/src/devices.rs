//! Device rules as an eBPF program, which is what cgroup v2 has in place of files. Pure but for [`can_be_enforced`].
//!
//! Each of read, write and making a node is decided by itself: the last rule that speaks of it and of the device decides;
//! one that no rule speaks of is the parent's business, as on v1. All that is asked for must be allowed.
//!
//! The kernel runs the program at each open(2) and mknod(2) of a device, with the context of bpf(2)
//! `BPF_PROG_TYPE_CGROUP_DEVICE`: `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`. Programs of the
//! cgroups above run too, and each must allow it.

use crate::limits::{DeviceKind, DeviceRule};
pub use orlop_sys::bpf::Instruction;

/// Most rules that are made a program of. A container has a dozen, and one for each device it is given. The kernel's
/// proof that a program ends follows each rule's match to the end, and gives up after a million instructions.
pub const RULES_MAX: usize = 512;

/// More rules than a program may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} device rules are more than {RULES_MAX}")]
pub struct TooManyRules(pub usize);

/// `BPF_DEVCG_ACC_*` and `BPF_DEVCG_DEV_*`, include/uapi/linux/bpf.h.
mod number {
    pub(super) const MAKE: i32 = 1;
    pub(super) const READ: i32 = 2;
    pub(super) const WRITE: i32 = 4;
    pub(super) const BLOCK: i32 = 1;
    pub(super) const CHAR: i32 = 2;
}

/// Registers, and what they hold.
mod register {
    pub(super) const ANSWER: u8 = 0;
    pub(super) const CONTEXT: u8 = 1;
    pub(super) const KIND: u8 = 2;
    /// What is asked for and not decided yet.
    pub(super) const OPEN: u8 = 3;
    pub(super) const MAJOR: u8 = 4;
    pub(super) const MINOR: u8 = 5;
}

/// Codes of the instructions used; Documentation/bpf/standardization/instruction-set.rst.
mod code {
    /// `BPF_LDX | BPF_MEM | BPF_W`: a word of memory.
    pub(super) const LOAD_WORD: u8 = 0x61;
    /// `BPF_ALU64`, with a number or, for the last, a register.
    pub(super) const SET: u8 = 0xb7;
    pub(super) const AND: u8 = 0x57;
    pub(super) const SHIFT_RIGHT: u8 = 0x77;
    pub(super) const COPY: u8 = 0xbf;
    /// `BPF_JMP32`, with a number: jump when not equal, when a bit is set. Linux 5.1.
    pub(super) const JUMP_UNLESS_EQUAL: u8 = 0x56;
    pub(super) const JUMP_IF_ANY: u8 = 0x46;
    /// `BPF_JMP`.
    pub(super) const JUMP: u8 = 0x05;
    pub(super) const EXIT: u8 = 0x95;
}

/// Returns the program that the rules mean.
pub fn program(rules: &[DeviceRule]) -> Result<Vec<Instruction>, TooManyRules> {
    if rules.len() > RULES_MAX {
        return Err(TooManyRules(rules.len()));
    }
    let mut program = vec![
        Instruction::load(code::LOAD_WORD, register::KIND, register::CONTEXT, 0),
        Instruction::move_register(code::COPY, register::OPEN, register::KIND),
        Instruction::with_number(code::SHIFT_RIGHT, register::OPEN, 16),
        Instruction::with_number(code::AND, register::KIND, 0xffff),
        Instruction::load(code::LOAD_WORD, register::MAJOR, register::CONTEXT, 4),
        Instruction::load(code::LOAD_WORD, register::MINOR, register::CONTEXT, 8),
    ];
    for rule in rules.iter().rev() {
        program.extend(one(rule));
        if rule.kind == DeviceKind::All {
            // Of everything, so that the rules before it decide nothing.
            break;
        }
    }
    program.extend(answer(Answer::Allow));
    Ok(program)
}

/// Returns the part of one rule: tests that jump behind it, then what it decides.
fn one(rule: &DeviceRule) -> Vec<Instruction> {
    let (kind, numbers, access) = match rule.kind {
        // v1 takes `a` alone for everything, whatever follows it.
        DeviceKind::All => (None, [None, None], number::MAKE | number::READ | number::WRITE),
        DeviceKind::Char => (Some(number::CHAR), [rule.major, rule.minor], bits(&rule.access)),
        DeviceKind::Block => (Some(number::BLOCK), [rule.major, rule.minor], bits(&rule.access)),
    };
    let decides = if rule.allow {
        vec![Instruction::with_number(code::AND, register::OPEN, !access)]
    } else {
        let mut decides = vec![
            Instruction::jump(code::JUMP_IF_ANY, register::OPEN, access, 1),
            Instruction::jump(code::JUMP, 0, 0, 2),
        ];
        decides.extend(answer(Answer::Refuse));
        decides
    };
    let [major, minor] = numbers.map(|number| number.map(u32::cast_signed));
    let tests = [(register::KIND, kind), (register::MAJOR, major), (register::MINOR, minor)];
    let tests: Vec<_> = tests.into_iter().filter_map(|(register, number)| Some((register, number?))).collect();
    let mut part = Vec::with_capacity(tests.len() + decides.len());
    for (at, (register, number)) in tests.iter().enumerate() {
        let behind = tests.len() - at - 1 + decides.len();
        let behind = i16::try_from(behind).expect("a rule has at most seven instructions");
        part.push(Instruction::jump(code::JUMP_UNLESS_EQUAL, *register, *number, behind));
    }
    part.extend(decides);
    part
}

fn bits(access: &str) -> i32 {
    let bit = |letter| match letter {
        'r' => number::READ,
        'w' => number::WRITE,
        'm' => number::MAKE,
        _ => 0,
    };
    access.chars().fold(0, |bits, letter| bits | bit(letter))
}

/// What a program answers.
#[derive(Clone, Copy)]
enum Answer {
    Refuse,
    Allow,
}

fn answer(answer: Answer) -> [Instruction; 2] {
    [Instruction::with_number(code::SET, register::ANSWER, answer as i32), Instruction::with_number(code::EXIT, 0, 0)]
}

/// Says whether this kernel takes device programs, and lets us load them; else why not.
///
/// # Errors
/// `EINVAL` without `CONFIG_CGROUP_BPF`, `EPERM` without `CAP_BPF` or `CAP_SYS_ADMIN`.
pub fn can_be_enforced() -> std::io::Result<()> {
    orlop_sys::bpf::load_device_program(&answer(Answer::Allow)).map(drop)
}

#[cfg(test)]
mod tests;
