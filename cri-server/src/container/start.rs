//! StartContainer.

use crate::proto::{StartContainerRequest, StartContainerResponse};
use crate::service::Cri;
use orlop_model::container_state::ContainerState;
use orlop_model::{ErrorKind, Failure};

/// Starts a created container. A program that can't run is an error, and leaves the container exited.
pub(crate) async fn start(cri: &Cri, request: StartContainerRequest) -> Result<StartContainerResponse, Failure> {
    let view = cri.container(&request.container_id)?;
    check_startable(&view.state).map_err(|f| f.while_trying(format_args!("start container {}", view.asked.id)))?;
    cri.facade.start_container(&view.asked.id).await?;
    Ok(StartContainerResponse {})
}

/// Refuses what was started before: the interface allows one start in a life. A start under way is joined.
fn check_startable(state: &ContainerState) -> Result<(), Failure> {
    let problem = match state {
        ContainerState::Creating { .. } | ContainerState::Created { .. } | ContainerState::Starting { .. } => {
            return Ok(());
        }
        ContainerState::Running(_) | ContainerState::Frozen(_) | ContainerState::Lost(_) => "it runs already",
        ContainerState::Stopping { .. } => "it is being stopped",
        ContainerState::Exited(..) => "it has ended; create a new one",
        ContainerState::Removing { .. } | ContainerState::Gone { .. } => "it is being removed",
    };
    Err(Failure::new(ErrorKind::WrongState, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::Timestamp;
    use orlop_model::container_state::{Checked, Ended, Exit, Task};

    #[test]
    fn a_container_starts_once() {
        let checked = Checked::default();
        assert!(check_startable(&ContainerState::Created { checked: checked.clone() }).is_ok());
        let task = Task { pid: 1, started: Timestamp(1), checked: checked.clone() };
        let ended = Ended { started: None, finished: Timestamp(2), exit: Exit::Code { code: 0, oom: false } };
        for (state, says) in
            [(ContainerState::Running(task), "runs already"), (ContainerState::Exited(ended, checked), "has ended")]
        {
            let failure = check_startable(&state).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::WrongState);
            assert!(failure.message.contains(says), "{failure}");
        }
    }
}
