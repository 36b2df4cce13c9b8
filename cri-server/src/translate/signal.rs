//! Stop signals: names on the wire, numbers inside. Numbers are those of Linux on x86 and ARM; signal(7).

use super::{Result, known};
use crate::proto::Signal;

/// Signals that have a number of their own on every architecture we run on; the first name of a number is the one shown.
const NAMED: [(Signal, u8); 34] = [
    (Signal::Sighup, 1),
    (Signal::Sigint, 2),
    (Signal::Sigquit, 3),
    (Signal::Sigill, 4),
    (Signal::Sigtrap, 5),
    (Signal::Sigabrt, 6),
    (Signal::Sigiot, 6),
    (Signal::Sigbus, 7),
    (Signal::Sigfpe, 8),
    (Signal::Sigkill, 9),
    (Signal::Sigusr1, 10),
    (Signal::Sigsegv, 11),
    (Signal::Sigusr2, 12),
    (Signal::Sigpipe, 13),
    (Signal::Sigalrm, 14),
    (Signal::Sigterm, 15),
    (Signal::Sigstkflt, 16),
    (Signal::Sigchld, 17),
    (Signal::Sigcld, 17),
    (Signal::Sigcont, 18),
    (Signal::Sigstop, 19),
    (Signal::Sigtstp, 20),
    (Signal::Sigttin, 21),
    (Signal::Sigttou, 22),
    (Signal::Sigurg, 23),
    (Signal::Sigxcpu, 24),
    (Signal::Sigxfsz, 25),
    (Signal::Sigvtalrm, 26),
    (Signal::Sigprof, 27),
    (Signal::Sigwinch, 28),
    (Signal::Sigio, 29),
    (Signal::Sigpoll, 29),
    (Signal::Sigpwr, 30),
    (Signal::Sigsys, 31),
];

/// First real-time signal, as programs see it: the C library keeps two for itself.
const REALTIME_MIN: i32 = 34;

/// Returns the number of a stop signal; `None` takes the image's.
pub(crate) fn number(asked: i32) -> Result<Option<u8>> {
    let signal: Signal = known("stop_signal", asked)?;
    if signal == Signal::RuntimeDefault {
        return Ok(None);
    }
    let named = NAMED.iter().find(|(name, _)| *name == signal).map(|(_, number)| *number);
    // Real-time signals follow each other in the enum as they do in the kernel.
    let realtime = || u8::try_from(asked - Signal::Sigrtmin as i32 + REALTIME_MIN).ok();
    Ok(named.or_else(realtime))
}

/// Returns the name of a signal's number.
pub(crate) fn shown(number: u8) -> Signal {
    if let Some((signal, _)) = NAMED.iter().find(|(_, n)| *n == number) {
        return *signal;
    }
    let realtime = i32::from(number) - REALTIME_MIN;
    let named = if realtime < 0 { None } else { Signal::try_from(Signal::Sigrtmin as i32 + realtime).ok() };
    named.unwrap_or(Signal::RuntimeDefault)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    #[test]
    fn every_signal_has_its_number_and_comes_back_by_name() {
        for asked in 1..=Signal::Sigrtmax as i32 {
            let signal = Signal::try_from(asked).unwrap();
            let number = number(asked).unwrap().unwrap_or_else(|| panic!("{signal:?} has a number"));
            let twin = matches!(signal, Signal::Sigiot | Signal::Sigcld | Signal::Sigpoll);
            assert!(twin || shown(number) == signal, "{signal:?} {number}");
        }
        for (signal, expected) in [
            (Signal::RuntimeDefault, None),
            (Signal::Sigterm, Some(15)),
            (Signal::Sigrtmin, Some(34)),
            (Signal::Sigrtminplus15, Some(49)),
            (Signal::Sigrtmaxminus14, Some(50)),
            (Signal::Sigrtmax, Some(64)),
        ] {
            assert_eq!(number(signal as i32).unwrap(), expected, "{signal:?}");
        }
        check_refused(number(66), InvalidArgument, &["stop_signal", "66"]);
        for nothing in [0, 32, 33, 65, 255] {
            assert_eq!(shown(nothing), Signal::RuntimeDefault);
        }
    }
}
