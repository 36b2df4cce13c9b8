//! ExecSync: probes and hooks.

use crate::proto::{ExecSyncRequest, ExecSyncResponse};
use crate::service::Cri;
use orlop_model::{ErrorKind, Failure};
use std::time::Duration;

/// Longest message that clients accept; the interface would allow as much for each output, which then never arrives.
const CLIENT_BYTES_MAX: usize = 16 << 20;
/// Room for all of an answer that is not output.
const FRAME_BYTES: usize = 64 << 10;
/// Bytes kept of each output, so that both fit.
const OUTPUT_BYTES_MAX: usize = (CLIENT_BYTES_MAX - FRAME_BYTES) / 2;

/// Runs a program in a container and waits for its end. How it ends is an answer, not an error; running out of time is one.
pub(crate) async fn exec_sync(cri: &Cri, request: ExecSyncRequest) -> Result<ExecSyncResponse, Failure> {
    let timeout = check(&request)?;
    let view = cri.container(&request.container_id)?;
    let output = cri.facade.exec_sync(&view.asked.id, &request.cmd, timeout, OUTPUT_BYTES_MAX).await?;
    Ok(ExecSyncResponse { stdout: output.stdout, stderr: output.stderr, exit_code: output.exit_code })
}

/// Checks a request and returns how long it may take; zero is as long as it takes.
fn check(request: &ExecSyncRequest) -> Result<Option<Duration>, Failure> {
    check_command(&request.cmd)?;
    match u64::try_from(request.timeout) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(refused("timeout: is below zero; use 0 to wait as long as it takes")),
    }
}

/// Checks the program and its arguments.
pub(crate) fn check_command(command: &[String]) -> Result<(), Failure> {
    if command.first().is_none_or(String::is_empty) {
        return Err(refused("cmd: is empty; name a program"));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(refused("cmd: holds a NUL character"));
    }
    Ok(())
}

fn refused(problem: &str) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, format!("exec: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ANSWER_BYTES_MAX;
    use prost::Message;

    fn asked(cmd: &[&str], timeout: i64) -> ExecSyncRequest {
        ExecSyncRequest { container_id: "c".into(), cmd: cmd.iter().map(|&w| w.into()).collect(), timeout }
    }

    #[test]
    fn a_timeout_of_zero_waits_as_long_as_it_takes() {
        assert_eq!(check(&asked(&["true"], 0)).unwrap(), None);
        assert_eq!(check(&asked(&["true"], 3)).unwrap(), Some(Duration::from_secs(3)));
        for (bad, says) in [
            (asked(&[], 0), "cmd"),
            (asked(&[""], 0), "cmd"),
            (asked(&["a\0"], 0), "NUL"),
            (asked(&["a"], -1), "timeout"),
        ] {
            let failure = check(&bad).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidArgument);
            assert!(failure.message.contains(says), "{failure}");
        }
    }

    #[test]
    fn the_longest_answer_fits_into_what_clients_accept() {
        let output = vec![0; OUTPUT_BYTES_MAX];
        let answer = ExecSyncResponse { stdout: output.clone(), stderr: output, exit_code: -1 };
        assert!(answer.encoded_len() < CLIENT_BYTES_MAX);
        assert!(answer.encoded_len() < ANSWER_BYTES_MAX);
    }
}
