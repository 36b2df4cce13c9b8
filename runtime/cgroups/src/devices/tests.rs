use super::*;
use proptest::prelude::*;

/// What somebody asks for.
#[derive(Clone, Copy, Debug)]
struct Request {
    kind: i32,
    major: u32,
    minor: u32,
    access: i32,
}

/// The rules as they are meant, in the plainest words.
fn decide(rules: &[DeviceRule], request: Request) -> bool {
    [('m', number::MAKE), ('r', number::READ), ('w', number::WRITE)].into_iter().all(|(letter, bit)| {
        let speaks = |rule: &&DeviceRule| match rule.kind {
            DeviceKind::All => true,
            DeviceKind::Char | DeviceKind::Block => {
                let kind = if rule.kind == DeviceKind::Char { number::CHAR } else { number::BLOCK };
                kind == request.kind
                    && rule.major.is_none_or(|major| major == request.major)
                    && rule.minor.is_none_or(|minor| minor == request.minor)
                    && rule.access.contains(letter)
            }
        };
        request.access & bit == 0 || rules.iter().rev().find(speaks).is_none_or(|rule| rule.allow)
    })
}

/// Runs a program as the kernel would; whatever it would refuse to load panics.
fn interpret(program: &[Instruction], request: Request) -> bool {
    let access_type = (request.access as u32) << 16 | request.kind as u32;
    let context = [access_type, request.major, request.minor];
    let mut registers = [None::<u64>; 11];
    let (mut at, mut left) = (0_usize, program.len());
    loop {
        left = left.checked_sub(1).expect("a program without loops ends");
        let Instruction { code, registers: pair, offset, number } = program[at];
        let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
        let read = |register: usize| registers[register].expect("a register is read before it is set");
        at += 1;
        let mut jump = |taken: bool| {
            if taken {
                at = at.checked_add_signed(isize::from(offset)).unwrap();
            }
        };
        match code {
            code::LOAD_WORD => {
                assert_eq!(from, usize::from(register::CONTEXT));
                registers[to] = Some(u64::from(context[usize::try_from(offset).unwrap() / 4]));
            }
            code::COPY => registers[to] = Some(read(from)),
            code::SET => registers[to] = Some(i64::from(number) as u64),
            code::AND => registers[to] = Some(read(to) & i64::from(number) as u64),
            code::SHIFT_RIGHT => registers[to] = Some(read(to) >> number),
            code::JUMP => jump(true),
            code::JUMP_UNLESS_EQUAL => jump(read(to) as u32 != number as u32),
            code::JUMP_IF_ANY => jump(read(to) as u32 & number as u32 != 0),
            code::EXIT => return read(0) != 0,
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}

fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access: access.to_owned() }
}

fn any_rule() -> impl Strategy<Value = DeviceRule> {
    let kind = prop_oneof![1 => Just(DeviceKind::All), 4 => Just(DeviceKind::Char), 4 => Just(DeviceKind::Block)];
    // Few numbers, so that rules meet; and one that is negative as the kernel's immediate.
    let number = || prop_oneof![2 => Just(None), 3 => (0_u32..3).prop_map(Some), 1 => Just(Some(u32::MAX - 1))];
    let access = proptest::sample::subsequence(vec!['r', 'w', 'm'], 1..=3).prop_map(String::from_iter);
    (any::<bool>(), kind, number(), number(), access).prop_map(|(allow, kind, major, minor, access)| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access,
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let number = || prop_oneof![4 => 0_u32..3, 1 => Just(u32::MAX - 1)];
    (1_i32..=2, number(), number(), 0_i32..8).prop_map(|(kind, major, minor, access)| Request {
        kind,
        major,
        minor,
        access,
    })
}

proptest! {
    #[test]
    fn program_decides_as_the_rules_do(rules in prop::collection::vec(any_rule(), 0..12), request in any_request()) {
        let program = program(&rules).unwrap();
        prop_assert_eq!(interpret(&program, request), decide(&rules, request));
    }

    #[test]
    fn rules_before_one_of_everything_do_not_count(
        before in prop::collection::vec(any_rule(), 0..6),
        after in prop::collection::vec(any_rule(), 0..6),
        allow in any::<bool>(),
    ) {
        let all = rule(allow, DeviceKind::All, None, None, "rwm");
        let from_all: Vec<_> = std::iter::once(all).chain(after).collect();
        let whole: Vec<_> = before.into_iter().chain(from_all.iter().cloned()).collect();
        prop_assert_eq!(program(&whole), program(&from_all));
    }
}

#[test]
fn usual_rules_give_the_usual_answers() {
    let rules = [
        rule(false, DeviceKind::All, None, None, "rwm"),
        rule(true, DeviceKind::Char, None, None, "m"),
        rule(true, DeviceKind::Char, Some(1), Some(3), "rwm"),
        rule(true, DeviceKind::Char, Some(136), None, "rw"),
    ];
    let program = program(&rules).unwrap();
    for (kind, major, minor, access, expected) in [
        (number::CHAR, 1, 3, number::READ | number::WRITE, true),
        (number::CHAR, 1, 4, number::READ, false),
        (number::CHAR, 1, 4, number::MAKE, true),
        (number::CHAR, 1, 4, number::MAKE | number::READ, false),
        (number::CHAR, 136, 9, number::WRITE, true),
        (number::BLOCK, 1, 3, number::READ, false),
        (number::BLOCK, 8, 0, number::MAKE, false),
    ] {
        assert_eq!(
            interpret(&program, Request { kind, major, minor, access }),
            expected,
            "{kind} {major}:{minor} {access}"
        );
    }
}

#[test]
fn program_of_one_rule_is_known_byte_for_byte() {
    let program = program(&[rule(false, DeviceKind::Block, Some(8), None, "rw")]).unwrap();
    let bytes: Vec<[u8; 8]> = program.into_iter().map(Instruction::to_bytes).collect();
    let expected: [[u8; 8]; 14] = [
        [0x61, 0x12, 0, 0, 0, 0, 0, 0],       // kind = context.access_type
        [0xbf, 0x23, 0, 0, 0, 0, 0, 0],       // open = kind
        [0x77, 0x03, 0, 0, 16, 0, 0, 0],      // open >>= 16
        [0x57, 0x02, 0, 0, 0xff, 0xff, 0, 0], // kind &= 0xffff
        [0x61, 0x14, 4, 0, 0, 0, 0, 0],       // major = context.major
        [0x61, 0x15, 8, 0, 0, 0, 0, 0],       // minor = context.minor
        [0x56, 0x02, 5, 0, 1, 0, 0, 0],       // not a block device: next rule
        [0x56, 0x04, 4, 0, 8, 0, 0, 0],       // not of major 8: next rule
        [0x46, 0x03, 1, 0, 6, 0, 0, 0],       // read or write wanted: refuse
        [0x05, 0x00, 2, 0, 0, 0, 0, 0],       // else: next rule
        [0xb7, 0x00, 0, 0, 0, 0, 0, 0],
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],
        [0xb7, 0x00, 0, 0, 1, 0, 0, 0], // nobody objects: allow
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn endless_rules_are_refused() {
    let one = rule(true, DeviceKind::Char, Some(1), Some(3), "r");
    assert_eq!(program(&vec![one.clone(); RULES_MAX + 1]), Err(TooManyRules(RULES_MAX + 1)));
    assert!(program(&vec![one; RULES_MAX]).is_ok());
}
