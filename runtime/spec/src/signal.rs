//! Signals by name and number.

use crate::SpecError;
use orlop_model::container::ContainerSpec;
use orlop_model::image::ImageConfig;

/// What ends a process when nobody says otherwise: SIGTERM.
const DEFAULT: u8 = 15;

/// Highest signal number: `SIGRTMAX`.
const MAX: u8 = 64;

/// `SIGRTMIN` as the kernel counts; the C library keeps the first two for itself, and its users mean the third.
const RTMIN: u8 = 34;

/// Names without `SIG`, by number from 1. signal(7), x86 and arm.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Other names in use.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// Returns the signal that asks a container to end: its own, its image's, or SIGTERM.
pub fn stop_signal(container: &ContainerSpec, image: &ImageConfig) -> Result<u8, SpecError> {
    match (container.stop_signal, image.stop_signal.trim()) {
        (Some(number @ 1..=MAX), _) => Ok(number),
        (Some(other), _) => Err(SpecError::invalid("stop signal", format!("{other} is no signal; 1 to {MAX} are"))),
        (None, "") => Ok(DEFAULT),
        (None, text) => parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            SpecError::image("stop signal", format!("{shown:?} is not the name or number of a signal"))
        }),
    }
}

/// Parses `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
fn parse(text: &str) -> Option<u8> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=MAX).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, number)| number);
    let alias = || ALIASES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(alias).or_else(|| realtime(name))
}

fn realtime(name: &str) -> Option<u8> {
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        text => text.strip_prefix(sign)?.parse::<u8>().ok(),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?)?,
        (None, Some(rest)) => MAX.checked_sub(offset(rest, '-')?)?,
        (None, None) => return None,
    };
    (RTMIN..=MAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        for (text, expected) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("64", Some(64)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN", Some(34)),
            ("SIGRTMAX", Some(64)),
            ("RTMAX-30", Some(34)),
            ("SIGPOLL", Some(29)),
            ("0", None),
            ("65", None),
            ("-1", None),
            ("RTMIN+31", None),
            ("RTMAX-31", None),
            ("RTMIN3", None),
            ("SIG", None),
            ("TERM\n", None),
            ("999999999999", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
