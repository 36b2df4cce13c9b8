//! Signals by name or number, those of Linux on x86 and ARM; signal(7).

use super::Result;
use crate::http::error::ApiError;

const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
const OTHER_NAMES: &[(&str, u8)] = &[("IOT", 6), ("CLD", 17), ("POLL", 29)];
/// First and last real-time signal, as programs see them: the C library keeps two for itself.
const REALTIME: (u8, u8) = (34, 64);

/// Parses `SIGTERM`, `term`, `15` and `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<u8> {
    let bad = || ApiError::bad(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<u8>() {
        return if (1..=REALTIME.1).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let plain = NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at + 1).ok());
    let other = || OTHER_NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    plain.or_else(other).or_else(|| realtime(name)).ok_or_else(bad)
}

fn realtime(name: &str) -> Option<u8> {
    let (first, last) = REALTIME;
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => first,
        (Some(plus), _) => first.checked_add(plus.strip_prefix('+')?.parse().ok()?)?,
        (_, Some("")) => last,
        (_, Some(minus)) => last.checked_sub(minus.strip_prefix('-')?.parse().ok()?)?,
        (None, None) => return None,
    };
    (first..=last).contains(&number).then_some(number)
}

/// Returns the name of a signal, for events and messages.
#[cfg(test)]
fn name(number: u8) -> Option<String> {
    NAMES.get(usize::from(number).checked_sub(1)?).map(|name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("sigkill", 9),
            ("SIGIOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for number in 1..=31 {
            assert_eq!(parse(&name(number).unwrap()).unwrap(), number);
        }
        for bad in ["", "0", "65", "256", "-1", "SIGNOSUCH", "RTMIN+99", "RTMIN-1"] {
            assert_eq!(parse(bad).unwrap_err().message(), format!("invalid signal: {bad}"));
        }
    }
}
