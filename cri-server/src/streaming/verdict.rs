//! How a command ended, in the words of each protocol.

use super::negotiate::Protocol;
use orlop_model::Failure;
use orlop_model::ports::ExecEnded;
use serde_json::json;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Well, or without a word of how.
    Success,
    /// With an exit status that is not zero.
    ExitCode(u8),
    /// It could not be run, or its end is not known.
    Failed(String),
}

impl Verdict {
    /// Judges the end of a program.
    pub(crate) fn of(ended: Result<ExecEnded, Failure>) -> Self {
        match ended {
            Err(failure) => Self::Failed(failure.message),
            Ok(ExecEnded { never_started: Some(why), exit_code: _ }) => Self::Failed(why),
            Ok(ExecEnded { exit_code: 0, never_started: None }) => Self::Success,
            // Clients take eight bits; there are no others.
            Ok(ExecEnded { exit_code, never_started: None }) => {
                Self::ExitCode(u8::try_from(exit_code).unwrap_or(u8::MAX))
            }
        }
    }

    /// Returns what is sent on the stream of errors.
    pub(crate) fn text(&self, protocol: Protocol) -> String {
        match protocol {
            Protocol::CommandV4 => self.document(),
            Protocol::CommandV1 | Protocol::CommandV2 | Protocol::CommandV3 | Protocol::PortForward => {
                self.message().unwrap_or_default()
            }
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Success => None,
            Self::ExitCode(code) => {
                Some(format!("command terminated with non-zero exit code: the program ended with {code}"))
            }
            Self::Failed(why) => Some(format!("Internal error occurred: {why}")),
        }
    }

    /// A `Status` of the Kubernetes API.
    fn document(&self) -> String {
        let message = self.message();
        let document = match self {
            Self::Success => json!({"metadata": {}, "status": "Success"}),
            Self::ExitCode(code) => json!({
                "metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Failed(why) => json!({
                "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
                "details": {"causes": [{"message": why}]}, "code": 500,
            }),
        };
        document.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::ErrorKind;
    use serde_json::Value;

    fn ended(exit_code: i32) -> Result<ExecEnded, Failure> {
        Ok(ExecEnded { exit_code, never_started: None })
    }

    #[test]
    fn the_fourth_protocol_carries_the_exit_code() {
        let document = |verdict: Verdict| serde_json::from_str::<Value>(&verdict.text(Protocol::CommandV4)).unwrap();
        assert_eq!(document(Verdict::of(ended(0)))["status"], "Success");
        let failed = document(Verdict::of(ended(3)));
        assert_eq!((&failed["status"], &failed["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
        assert_eq!(failed["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
        let never = ExecEnded { exit_code: 127, never_started: Some("no such program".into()) };
        for failed in [Ok(never), Err(Failure::new(ErrorKind::Unavailable, "no such program"))] {
            let failed = document(Verdict::of(failed));
            assert_eq!((&failed["reason"], &failed["code"]), (&json!("InternalError"), &json!(500)));
            assert_eq!(failed["message"], "Internal error occurred: no such program");
        }
    }

    #[test]
    fn older_protocols_say_only_failures_and_as_text() {
        for protocol in [Protocol::CommandV1, Protocol::CommandV2, Protocol::CommandV3] {
            assert_eq!(Verdict::Success.text(protocol), "");
            assert!(Verdict::ExitCode(3).text(protocol).contains("non-zero exit code"));
            assert_eq!(Verdict::Failed("x".into()).text(protocol), "Internal error occurred: x");
        }
    }

    #[test]
    fn no_exit_code_is_beyond_what_clients_take() {
        assert_eq!(Verdict::of(ended(137)), Verdict::ExitCode(137));
        assert_eq!(Verdict::of(ended(-1)), Verdict::ExitCode(255));
        assert_eq!(Verdict::of(ended(256)), Verdict::ExitCode(255));
    }
}
