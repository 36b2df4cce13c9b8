//! The only place where a failure of the core becomes a gRPC status.

use orlop_model::{ErrorKind, Failure};
use tonic::{Code, Status};

/// Longest message sent, in bytes. It travels percent-encoded in an HTTP/2 header: three times this must stay below the
/// 16 KiB of headers that common clients accept.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Returns the status of a failure. The kubelet shows only its message.
pub(crate) fn of(failure: &Failure) -> Status {
    let (code, prefix) = row(failure.kind);
    let mut message = match prefix {
        Some(prefix) => format!("{prefix}: {}", failure.message),
        None => failure.message.clone(),
    };
    if message.len() > MESSAGE_BYTES_MAX {
        let cut = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        message.truncate(cut);
        message.push('…');
    }
    Status::new(code, message)
}

/// Returns the code of a kind, and the word that its message must start with. No wildcard: a new kind must choose.
///
/// The kubelet strips the transport's own words from a message only for the code Unknown, and then looks for these words at
/// its very start.
fn row(kind: ErrorKind) -> (Code, Option<&'static str>) {
    match kind {
        ErrorKind::InvalidArgument => (Code::InvalidArgument, None),
        ErrorKind::NotFound => (Code::NotFound, None),
        ErrorKind::AlreadyExists => (Code::AlreadyExists, None),
        ErrorKind::WrongState => (Code::FailedPrecondition, None),
        ErrorKind::Denied => (Code::PermissionDenied, None),
        ErrorKind::Unavailable => (Code::Unavailable, None),
        ErrorKind::TimedOut => (Code::DeadlineExceeded, None),
        ErrorKind::Cancelled => (Code::Cancelled, None),
        ErrorKind::Unsupported => (Code::Unimplemented, None),
        ErrorKind::Exhausted => (Code::ResourceExhausted, None),
        ErrorKind::Internal => (Code::Internal, None),
        ErrorKind::Corrupt => (Code::DataLoss, None),
        ErrorKind::RegistryUnavailable => (Code::Unknown, Some("RegistryUnavailable")),
        ErrorKind::SignatureInvalid => (Code::Unknown, Some("SignatureValidationFailed")),
        ErrorKind::RecursiveReadOnlyUnsupported => (Code::Unknown, Some("RROUnsupported")),
        ErrorKind::ImageVolumeFailed => (Code::Unknown, Some("ImageVolumeMountFailed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ErrorKind, code: Code, message: &str) {
        let status = of(&Failure::new(kind, "pull x: refused"));
        assert_eq!((status.code(), status.message()), (code, message));
    }

    #[test]
    fn every_kind_has_its_code() {
        for (kind, code) in [
            (ErrorKind::InvalidArgument, Code::InvalidArgument),
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::AlreadyExists, Code::AlreadyExists),
            (ErrorKind::WrongState, Code::FailedPrecondition),
            (ErrorKind::Denied, Code::PermissionDenied),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::TimedOut, Code::DeadlineExceeded),
            (ErrorKind::Cancelled, Code::Cancelled),
            (ErrorKind::Unsupported, Code::Unimplemented),
            (ErrorKind::Exhausted, Code::ResourceExhausted),
            (ErrorKind::Internal, Code::Internal),
            (ErrorKind::Corrupt, Code::DataLoss),
        ] {
            check(kind, code, "pull x: refused");
        }
    }

    #[test]
    fn words_that_the_kubelet_looks_for_come_first_under_unknown() {
        for (kind, message) in [
            (ErrorKind::RegistryUnavailable, "RegistryUnavailable: pull x: refused"),
            (ErrorKind::SignatureInvalid, "SignatureValidationFailed: pull x: refused"),
            (ErrorKind::RecursiveReadOnlyUnsupported, "RROUnsupported: pull x: refused"),
            (ErrorKind::ImageVolumeFailed, "ImageVolumeMountFailed: pull x: refused"),
        ] {
            check(kind, Code::Unknown, message);
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let status = of(&Failure::new(ErrorKind::Internal, "é".repeat(MESSAGE_BYTES_MAX)));
        assert_eq!(status.message().len(), MESSAGE_BYTES_MAX + '…'.len_utf8());
        assert!(status.message().ends_with("é…"));
    }
}
