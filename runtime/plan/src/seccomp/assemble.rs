//! A policy as classic BPF.
//!
//! The program is built from its end, so that a jump, which only goes forward, always knows where it leads. A conditional
//! jump reaches 255 instructions; one that must go farther leads to an unconditional jump right behind it.
//!
//! ```text
//!         load architecture        ours → search;  i386 → ENOSYS;  else → kill
//! search: load number              a binary tree over ranges of numbers with the same answer
//! leaf:   return verdict           or: load and compare halves of arguments, rule after rule
//! ```

use super::BadProfile;
use super::policy::{Check, Comparison, KILL, NO_SUCH_CALL, Policy, Rule, Verdict};
use super::syscalls::NEWEST;
use std::collections::BTreeMap;

/// Most instructions the kernel takes: `BPF_MAXINSNS`.
const INSTRUCTIONS_MAX: usize = 4096;

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// From here on numbers are of the x32 ABI, which shares the architecture: `__X32_SYSCALL_BIT`.
const X32: u32 = 0x4000_0000;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`, include/uapi/linux/audit.h.
const ARCH_NATIVE: u32 = 0xC000_003E;
const ARCH_I386: u32 = 0x4000_0003;

/// Offsets in `struct seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// Operations, include/uapi/linux/bpf_common.h.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

/// Conditions on the accumulator.
#[derive(Clone, Copy)]
enum If {
    Equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as isize,
    Greater = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as isize,
    GreaterOrEqual = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as isize,
}

/// A place in the program, counted from its end.
type Label = usize;

#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// What a range of numbers leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer<'a> {
    Always(Verdict),
    Rules(&'a [Rule]),
}

/// Returns the program as bytes.
pub(super) fn assemble(policy: &Policy) -> Result<Vec<u8>, BadProfile> {
    let mut code = Code { backwards: Vec::new(), returns: BTreeMap::new(), default: policy.default };
    code.search(&ranges(policy));
    let search = code.load(OFFSET_NUMBER);
    let (refuse, kill) = (code.ret(NO_SUCH_CALL), code.ret(KILL));
    let foreign = code.branch(If::Equal, ARCH_I386, refuse, kill);
    code.branch(If::Equal, ARCH_NATIVE, search, foreign);
    code.load(OFFSET_ARCH);
    if code.backwards.len() > INSTRUCTIONS_MAX {
        return Err(BadProfile::TooLarge(code.backwards.len()));
    }
    Ok(code.backwards.iter().rev().flat_map(|instruction| instruction.bytes()).collect())
}

/// Returns where each range of numbers with one answer begins, in order; neighbours with the same answer are one.
fn ranges(policy: &Policy) -> Vec<(u32, Answer<'_>)> {
    let mut ranges = vec![(0, Answer::Always(policy.default))];
    for (number, rules) in &policy.calls {
        let answer = match rules.as_slice() {
            [Rule { checks, verdict }] if checks.is_empty() => Answer::Always(*verdict),
            rules => Answer::Rules(rules),
        };
        ranges.push((*number, answer));
        ranges.push((number + 1, Answer::Always(policy.default)));
    }
    ranges.push((NEWEST + 1, Answer::Always(policy.newer)));
    ranges.push((X32, Answer::Always(NO_SUCH_CALL)));

    let mut merged: Vec<(u32, Answer<'_>)> = Vec::with_capacity(ranges.len());
    for (start, answer) in ranges {
        // A range that ends where it begins has no number.
        if merged.last().is_some_and(|(last, _)| *last == start) {
            merged.pop();
        }
        if merged.last().is_none_or(|(_, last)| *last != answer) {
            merged.push((start, answer));
        }
    }
    merged
}

/// A program under construction, last instruction first.
struct Code {
    backwards: Vec<Instruction>,
    /// The latest instruction that returns a verdict.
    returns: BTreeMap<Verdict, Label>,
    default: Verdict,
}

impl Code {
    /// Puts an instruction in front.
    fn push(&mut self, code: u16, yes: u8, no: u8, k: u32) -> Label {
        self.backwards.push(Instruction { code, yes, no, k });
        self.backwards.len() - 1
    }

    fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    /// Returns a place that returns a verdict, one in reach of what comes next where there is one.
    fn ret(&mut self, verdict: Verdict) -> Label {
        match self.returns.get(&verdict) {
            // Half the reach, so that what lies between here and the jump fits too.
            Some(label) if self.backwards.len() - label < REACH / 2 => *label,
            Some(_) | None => {
                let label = self.push(RETURN, 0, 0, verdict);
                self.returns.insert(verdict, label);
                label
            }
        }
    }

    /// Puts a conditional jump in front.
    fn branch(&mut self, when: If, k: u32, yes: Label, no: Label) -> Label {
        // Making one near may put an instruction between here and the other.
        let no = self.near(no, 1);
        let yes = self.near(yes, 0);
        let (yes, no) = (self.distance(yes), self.distance(no));
        let byte = |distance: usize| u8::try_from(distance).expect("`near` keeps it within reach");
        self.push(when as u16, byte(yes), byte(no), k)
    }

    /// Returns a place that leads to `label` and that a conditional jump put in front next can reach, `more` instructions
    /// later even.
    fn near(&mut self, label: Label, more: usize) -> Label {
        if self.distance(label) + more <= REACH {
            return label;
        }
        let far = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, far)
    }

    /// Returns how many instructions an instruction put in front now would jump over.
    fn distance(&self, label: Label) -> usize {
        self.backwards.len() - label - 1
    }

    /// Finds the answer for the number in the accumulator.
    fn search(&mut self, ranges: &[(u32, Answer<'_>)]) -> Label {
        match ranges {
            [] => self.ret(self.default),
            [(_, Answer::Always(verdict))] => self.ret(*verdict),
            [(_, Answer::Rules(rules))] => self.rules(rules),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let from = high.first().map_or(0, |(start, _)| *start);
                let high = self.search(high);
                let low = self.search(low);
                self.branch(If::GreaterOrEqual, from, high, low)
            }
        }
    }

    /// Tries rules in order; the first whose checks all hold answers.
    fn rules(&mut self, rules: &[Rule]) -> Label {
        let mut next = self.ret(self.default);
        for rule in rules.iter().rev() {
            let mut holds = self.ret(rule.verdict);
            for check in rule.checks.iter().rev() {
                holds = self.check(*check, holds, next);
            }
            next = holds;
        }
        next
    }

    fn check(&mut self, check: Check, yes: Label, no: Label) -> Label {
        let at = check.argument;
        match check.comparison {
            Comparison::Equal(value) => self.equal(at, u64::MAX, value, yes, no),
            Comparison::NotEqual(value) => self.equal(at, u64::MAX, value, no, yes),
            Comparison::MaskedEqual { mask, value } => self.equal(at, mask, value, yes, no),
            Comparison::Greater(value) => self.above(at, If::Greater, value, yes, no),
            Comparison::GreaterOrEqual(value) => self.above(at, If::GreaterOrEqual, value, yes, no),
            Comparison::LessOrEqual(value) => self.above(at, If::Greater, value, no, yes),
            Comparison::Less(value) => self.above(at, If::GreaterOrEqual, value, no, yes),
        }
    }

    /// High half first, then low half; each masked where the mask takes something away.
    fn equal(&mut self, argument: u32, mask: u64, value: u64, yes: Label, no: Label) -> Label {
        let mut next = yes;
        for half in [Half::Low, Half::High] {
            self.branch(If::Equal, half.of(value), next, no);
            if half.of(mask) != u32::MAX {
                self.push(AND, 0, 0, half.of(mask));
            }
            next = self.load(half.offset(argument));
        }
        next
    }

    /// The high half decides unless it is equal; then the low half does.
    fn above(&mut self, argument: u32, low: If, value: u64, yes: Label, no: Label) -> Label {
        self.branch(low, Half::Low.of(value), yes, no);
        let on_low = self.load(Half::Low.offset(argument));
        let not_greater = self.branch(If::Equal, Half::High.of(value), on_low, no);
        self.branch(If::Greater, Half::High.of(value), yes, not_greater);
        self.load(Half::High.offset(argument))
    }
}

/// Half of an argument: the accumulator has 32 bits.
#[derive(Clone, Copy)]
enum Half {
    Low,
    High,
}

impl Half {
    #[allow(clippy::cast_possible_truncation, reason = "that is what a half is")]
    fn of(self, value: u64) -> u32 {
        match self {
            Self::Low => value as u32,
            Self::High => (value >> 32) as u32,
        }
    }

    /// Little-endian.
    fn offset(self, argument: u32) -> u32 {
        let half = match self {
            Self::Low => 0,
            Self::High => 4,
        };
        OFFSET_ARGS + 8 * argument + half
    }
}

impl Instruction {
    /// `struct sock_filter`, native byte order.
    fn bytes(&self) -> [u8; 8] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.yes, self.no, k0, k1, k2, k3]
    }
}
