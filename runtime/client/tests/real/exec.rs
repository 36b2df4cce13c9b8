//! Programs run in a running container.

use crate::support::{Pod, World, pod, wait_for};
use crate::world;
use orlop_model::container::ContainerSpec;
use orlop_model::ports::{Launched, Runtime};
use orlop_model::{ContainerId, ErrorKind};
use std::time::Duration;

async fn running(world: &World) -> (Pod, ContainerSpec, ContainerId) {
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (spec, id) = world.container(&web, "one", "sleep 1000");
    let launched = world.start(&web, &spec, &id).await.unwrap();
    assert!(matches!(launched, Launched::Running { .. }), "{launched:?}");
    (web, spec, id)
}

async fn leave(world: World, web: &Pod, id: &ContainerId) {
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.client.drop_task(&web.id, id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn exec_returns_output_and_status() {
    let world = world!("exec");
    let (web, spec, id) = running(&world).await;
    for (command, expected) in [
        ("echo out; echo err >&2; exit 3", ("out\n", "err\n", 3)),
        ("hostname; echo $HOME", ("web\n/root\n", "", 0)),
        ("kill -9 $$", ("", "", 137)),
        // What a grandchild holds open does not keep it.
        ("sleep 5 & echo first", ("first\n", "", 0)),
    ] {
        let output = world.exec(&web, &spec, &id, &["/bin/sh", "-c", command], None).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((stdout.as_str(), stderr.as_str(), output.exit_code), expected, "{command}");
    }
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn missing_program_is_a_status_as_in_a_shell() {
    let world = world!("execmissing");
    let (web, spec, id) = running(&world).await;
    for (program, expected) in [("/bin/missing", 127), ("missing", 127), ("/etc/passwd", 126)] {
        let output = world.exec(&web, &spec, &id, &[program], None).await.unwrap();
        assert_eq!(output.exit_code, expected);
        assert!(String::from_utf8(output.stderr).unwrap().contains(program));
    }
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn exec_that_takes_too_long_is_killed_with_all_it_started() {
    let world = world!("exectimeout");
    let (web, spec, id) = running(&world).await;
    let command = ["/bin/sh", "-c", "sleep 4321 & sleep 4321"];
    let bound = Some(Duration::from_millis(200));
    let failure = world.exec(&web, &spec, &id, &command, bound).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::TimedOut, "{failure}");
    assert!(failure.message.contains("0.2 s"), "{failure}");
    wait_for("the end of all it started", || (count("sleep\x004321\x00") == 0).then_some(())).await;
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn output_beyond_the_bound_is_dropped_and_holds_nobody_up() {
    let world = world!("execoutput");
    let (web, spec, id) = running(&world).await;
    let output = world.exec(&web, &spec, &id, &["head", "-c", "3000000", "/dev/zero"], None).await.unwrap();
    assert_eq!((output.stdout.len(), output.exit_code), (1 << 20, 0));
    leave(world, &web, &id).await;
}

#[tokio::test]
async fn exec_in_what_does_not_run_is_an_error() {
    let world = world!("execgone");
    let (web, spec, id) = running(&world).await;
    world.client.kill(&web.id, &id).await.unwrap();
    world.wait_ended(&id).await;
    assert!(world.exec(&web, &spec, &id, &["/bin/sh"], None).await.is_err());
    leave(world, &web, &id).await;
}

fn count(command_line: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| std::fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|l| l == command_line))
        .count()
}
