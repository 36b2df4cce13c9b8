//! Containers: checked, started, logged, ended, with the daemon there or away.

use crate::support::{container, pod, wait_for};
use crate::world;
use orlop_model::ErrorKind;
use orlop_model::container::Mount;
use orlop_model::container_state::Exit;
use orlop_model::ports::{Launched, Observed, ObservedTask, Runtime};
use std::path::PathBuf;

#[track_caller]
fn running(launched: Launched) -> u32 {
    match launched {
        Launched::Running { pid, .. } => pid,
        Launched::Failed(ended) => panic!("it did not start: {ended:?}"),
    }
}

#[track_caller]
fn never_started(launched: Launched) -> (u8, String) {
    match launched {
        Launched::Failed(ended) => {
            let Exit::NeverStarted { code, message } = ended.exit else { panic!("another end: {ended:?}") };
            assert_eq!(ended.started, None);
            (code, message)
        }
        Launched::Running { .. } => panic!("it started"),
    }
}

#[tokio::test]
async fn container_runs_logs_and_ends_with_its_status() {
    let world = world!("runs");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (spec, id) = world.container(&web, "one", "hostname; cat /etc/resolv.conf; echo oops >&2; exit 7");
    let checked = world.check(&web, &spec, &id).await.unwrap();
    assert_eq!((checked.uid, checked.gid, checked.stop_signal), (0, 0, 15));
    running(world.start(&web, &spec, &id).await.unwrap());
    let ended = world.wait_ended(&id).await;
    assert_eq!(ended.exit, Exit::Code { code: 7, oom: false });
    assert!(ended.started.unwrap() <= ended.finished);
    let log = world.log("one.log");
    for line in [" stdout F web\n", " stdout F nameserver 10.9.8.7\n", " stderr F oops\n"] {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
    for _ in 0..2 {
        world.client.drop_task(&web.id, &id).await.unwrap();
    }
    assert!(!world.cgroup(&format!("/orlop-{}/one", web.id)));
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn signal_ends_it_and_kill_ends_what_ignores_the_signal() {
    let world = world!("kill");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (polite, one) = world.container(&web, "one", "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done");
    let (deaf, two) = world.container(&web, "two", "trap '' TERM; echo up; sleep 100 & sleep 100");
    for (spec, id) in [(&polite, &one), (&deaf, &two)] {
        running(world.start(&web, spec, id).await.unwrap());
        let log = format!("{id}.log");
        wait_for("the trap", || world.log(&log).contains("up").then_some(())).await;
        world.client.signal(&web.id, id, 15).await.unwrap();
    }
    assert_eq!(world.wait_ended(&one).await.exit, Exit::Code { code: 3, oom: false });
    for _ in 0..2 {
        world.client.kill(&web.id, &two).await.unwrap();
        assert_eq!(world.wait_ended(&two).await.exit, Exit::Signal { signal: 9, oom: false });
    }
    world.client.signal(&web.id, &one, 15).await.unwrap();
    world.client.drop_sandbox(&web.id).await.unwrap();
    for id in [&one, &two] {
        world.client.drop_task(&web.id, id).await.unwrap();
    }
    world.end().await;
}

#[tokio::test]
async fn frozen_container_does_nothing_until_it_is_thawed() {
    let world = world!("freeze");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (spec, id) = world.container(&web, "one", "while :; do echo tick; sleep 0.01; done");
    running(world.start(&web, &spec, &id).await.unwrap());
    wait_for("a tick", || world.log("one.log").contains("tick").then_some(())).await;
    for _ in 0..2 {
        world.client.freeze(&web.id, &id).await.unwrap();
    }
    // What was written before may still be on its way to the log.
    let mut before = world.log("one.log").len();
    wait_for("silence", || {
        let now = world.log("one.log").len();
        std::mem::replace(&mut before, now).eq(&now).then_some(())
    })
    .await;
    for _ in 0..2 {
        world.client.thaw(&web.id, &id).await.unwrap();
    }
    wait_for("more ticks", || (world.log("one.log").len() > before).then_some(())).await;
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.client.drop_task(&web.id, &id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn program_that_can_not_run_is_an_end_that_says_why() {
    let world = world!("cannot");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    for (name, command, dir, expected) in [
        ("one", "/bin/missing", "/", 127),
        ("two", "missing", "/", 127),
        ("three", "/etc/passwd", "/", 126),
        ("four", "/bin/sh", "/etc/passwd", 128),
    ] {
        let (mut spec, id) = world.container(&web, name, "");
        spec.process.command = vec![command.to_owned()];
        spec.process.working_dir = dir.to_owned();
        let (code, message) = never_started(world.start(&web, &spec, &id).await.unwrap());
        assert_eq!(code, expected, "{message}");
        assert!(message.contains(command) || message.contains(dir), "{message}");
        assert!(!world.cgroup(&format!("/orlop-{}/{name}", web.id)));
        world.client.drop_task(&web.id, &id).await.unwrap();
    }
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn what_can_not_be_right_is_refused_before_a_process_exists() {
    let world = world!("check");
    let web = pod("web");
    let (good, id) = world.container(&web, "one", "exit 0");
    let mut cases = Vec::new();
    let mut bad = good.clone();
    bad.mounts.push(Mount::new("/data", "/no/such/folder"));
    cases.push((bad, "/no/such/folder"));
    let mut bad = good.clone();
    bad.process.user.user = "nobody-here".to_owned();
    cases.push((bad, "nobody-here"));
    let mut bad = good.clone();
    bad.process.command.clear();
    cases.push((bad, "command"));
    let mut bad = good.clone();
    bad.log.as_mut().unwrap().file = PathBuf::from("../x.log");
    cases.push((bad, "../x.log"));
    for (bad, named) in cases {
        let failure = world.check(&web, &bad, &id).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::InvalidArgument, "{failure}");
        assert!(failure.message.contains(named), "{named:?} is not named by {failure}");
    }
    let mut user = good;
    user.process.user.user = "web".to_owned();
    let checked = world.check(&web, &user, &id).await.unwrap();
    assert_eq!((checked.uid, checked.gid, checked.groups.contains(&44)), (33, 33, true));
    world.end().await;
}

#[tokio::test]
async fn daemon_that_was_away_learns_what_happened_meanwhile() {
    let mut world = world!("away");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (stays, one) = world.container(&web, "one", "sleep 100");
    let (ends, two) = world.container(&web, "two", "read line < /tmp/go; exit 7");
    let pipe = world.dir.path().join("rootfs/tmp/go");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let pid = running(world.start(&web, &stays, &one).await.unwrap());
    running(world.start(&web, &ends, &two).await.unwrap());
    // Nobody listens from here on.
    let quiet = std::sync::Arc::clone(&world.heard);
    world.leave();
    std::fs::write(&pipe, "go\n").unwrap();
    let record = world.run_dir().join("sandboxes").join(web.id.as_str()).join("exits/two");
    wait_for("the record", || record.exists().then_some(())).await;
    assert!(quiet.ended.lock().unwrap().is_empty());
    world.restart();
    let Observed::Shim { tasks } = world.client.observe(&web.id).await.unwrap() else { panic!("no shim") };
    assert_eq!(tasks.len(), 2);
    for (id, task) in tasks {
        match task {
            ObservedTask::Running { pid: found, .. } => assert_eq!((&id, found), (&one, pid)),
            ObservedTask::Ended(ended) => {
                assert_eq!((&id, ended.exit), (&two, Exit::Code { code: 7, oom: false }));
            }
        }
    }
    // From now on it hears again.
    world.client.kill(&web.id, &one).await.unwrap();
    assert_eq!(world.wait_ended(&one).await.exit, Exit::Signal { signal: 9, oom: false });
    let ends = world.client.drop_sandbox(&web.id).await.unwrap();
    assert_eq!(ends.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&one, &two]);
    // Kept until the ends are recorded.
    assert_eq!(world.client.observe(&web.id).await.unwrap(), Observed::NoShim { ended: ends });
    for id in [&one, &two] {
        world.client.drop_task(&web.id, id).await.unwrap();
    }
    assert!(world.client.leftovers().await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn shim_that_is_killed_takes_no_process_and_no_end_with_it() {
    let world = world!("orphan");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (ended, one) = world.container(&web, "one", "exit 5");
    let (lives, two) = world.container(&web, "two", "sleep 100 & sleep 100");
    running(world.start(&web, &ended, &one).await.unwrap());
    world.wait_ended(&one).await;
    let pid = running(world.start(&web, &lives, &two).await.unwrap());
    crate::sandbox::kill_shim(&world, &web.id);
    wait_for("the report", || (!world.heard.gone.lock().unwrap().is_empty()).then_some(())).await;
    let Observed::NoShim { ended } = world.client.observe(&web.id).await.unwrap() else { panic!("a shim") };
    assert_eq!(
        ended.iter().map(|(id, ended)| (id, &ended.exit)).collect::<Vec<_>>(),
        [(&one, &Exit::Code { code: 5, oom: false })]
    );
    // Its first kill needs no shim.
    world.client.kill(&web.id, &two).await.unwrap();
    wait_for("the kill", || (!PathBuf::from(format!("/proc/{pid}/root")).exists()).then_some(())).await;
    assert_eq!(world.client.drop_sandbox(&web.id).await.unwrap(), ended);
    for id in [&one, &two] {
        world.client.drop_task(&web.id, id).await.unwrap();
    }
    assert!(world.client.leftovers().await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn start_is_answered_before_its_end_is_reported() {
    let world = world!("order");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    for round in 0..20 {
        let (spec, id) = world.container(&web, &format!("c{round}"), "exit 0");
        let launched = world.start(&web, &spec, &id).await.unwrap();
        let Launched::Running { at, .. } = launched else { panic!("it did not start") };
        assert_eq!(world.wait_ended(&id).await.started, Some(at));
        assert_eq!(world.heard.ended.lock().unwrap().len(), round + 1);
        world.client.drop_task(&web.id, &id).await.unwrap();
    }
    world.client.drop_sandbox(&web.id).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn emptied_run_folder_hides_no_process() {
    let mut world = world!("emptied");
    let web = pod("web");
    world.client.raise(&web.id, &web.spec).await.unwrap();
    let (spec, id) = world.container(&web, "one", "sleep 100");
    let pid = running(world.start(&web, &spec, &id).await.unwrap());
    crate::sandbox::kill_shim(&world, &web.id);
    world.restart();
    std::fs::remove_dir_all(world.run_dir().join("sandboxes")).unwrap();
    assert_eq!(world.client.leftovers().await.unwrap(), std::slice::from_ref(&web.id));
    assert_eq!(world.client.drop_sandbox(&web.id).await.unwrap(), []);
    assert!(!PathBuf::from(format!("/proc/{pid}/root")).exists());
    assert!(world.client.leftovers().await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn start_needs_a_sandbox() {
    let world = world!("nosandbox");
    let web = pod("web");
    let id = orlop_model::ContainerId::parse("one").unwrap();
    let failure = world.start(&web, &container(&web, &["/bin/sh"]), &id).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::WrongState, "{failure}");
    world.client.drop_task(&web.id, &id).await.unwrap();
    world.client.kill(&web.id, &id).await.unwrap();
    world.end().await;
}
