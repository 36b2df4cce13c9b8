//! One pod's life on one side, each call timed.

use super::clock::Clock;
use super::samples::Operation;
use super::side::{GRACE_SECONDS, PROGRAM, Side};
use orlop_testkit::client::v1;
use std::io;

/// Lives one pod with one container. Nothing of it is left, except after an error.
pub fn live(side: &Side, number: u32, clock: &mut Clock<'_>) -> io::Result<()> {
    use Operation::{
        CreateContainer, ExecSync, RemoveContainer, RemovePodSandbox, RunPodSandbox, StartContainer, StopContainer,
        StopPodSandbox,
    };
    let config = side.networked_pod(number);
    let client = &side.client;
    let pod = clock.time(RunPodSandbox, || side.run_pod(&config))?;
    let container = clock.time(CreateContainer, || side.create(&pod, &config, PROGRAM))?;
    clock.time(StartContainer, || side.start(&container))?;
    clock.add_last_two(Operation::CreateAndStart);
    side.wait_until_ready(&config)?;
    let exec = v1::ExecSyncRequest { container_id: container.clone(), cmd: vec!["true".to_owned()], timeout: 20 };
    let answer = clock.time(ExecSync, || client.exec_sync(exec))?;
    if answer.exit_code != 0 {
        return Err(io::Error::other(format!("{}: true ended with {}", side.name(), answer.exit_code)));
    }
    let stop = v1::StopContainerRequest { container_id: container.clone(), timeout: GRACE_SECONDS };
    clock.time(StopContainer, || client.stop_container(stop))?;
    let remove = v1::RemoveContainerRequest { container_id: container };
    clock.time(RemoveContainer, || client.remove_container(remove))?;
    clock.time(StopPodSandbox, || side.stop_pod(&pod))?;
    clock.time(RemovePodSandbox, || side.remove_pod(&pod))
}
