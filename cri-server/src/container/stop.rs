//! StopContainer.

use crate::proto::{StopContainerRequest, StopContainerResponse};
use crate::service::{Cri, unless_gone};
use orlop_model::{ErrorKind, Failure};
use std::time::Duration;

/// Stops a container and waits for its end. One that has ended or is not there is no error.
pub(crate) async fn stop(cri: &Cri, request: StopContainerRequest) -> Result<StopContainerResponse, Failure> {
    let grace = grace(request.timeout)?;
    if let Some(view) = unless_gone(cri.container(&request.container_id))? {
        unless_gone(cri.facade.stop_container(&view.asked.id, grace).await)?;
    }
    Ok(StopContainerResponse {})
}

/// Returns the time between the stop signal and the kill; none kills at once.
fn grace(timeout: i64) -> Result<Duration, Failure> {
    u64::try_from(timeout).map(Duration::from_secs).map_err(|_| {
        let message = format!("stop container: timeout {timeout} is below zero; use 0 to kill at once");
        Failure::new(ErrorKind::InvalidArgument, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_seconds_and_not_below_zero() {
        assert_eq!(grace(0).unwrap(), Duration::ZERO);
        assert_eq!(grace(30).unwrap(), Duration::from_secs(30));
        assert!(grace(i64::MAX).is_ok());
        assert_eq!(grace(-1).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}
