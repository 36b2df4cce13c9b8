//! Floods: of output, memory, processes, descriptors.

use crate::support::wait_for;
use crate::up;
use orlop_model::ErrorKind;
use orlop_model::container::ContainerSpec;
use orlop_model::container_state::Exit;
use orlop_model::ports::{Observed, Runtime};
use std::time::{Duration, Instant};

#[tokio::test]
async fn attack_exec_that_floods_its_output_takes_no_memory_of_the_daemon() {
    /// What is kept is a megabyte; other tests of this process run meanwhile.
    const GROWTH_KIB_MAX: u64 = 64 * 1024;
    let ground = up!("flood");
    ground.world.add_program("/usr/bin/yes");
    let running = ground.start("one", "sleep 1000", |_| {}).await;
    let before = resident_kib();
    let bound = Some(Duration::from_secs(3));
    let outcome = ground.world.exec(&ground.pod, &running.spec, &running.id, &["/usr/bin/yes"], bound).await;
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::TimedOut);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "grown by {grown} KiB");
    ground.end().await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn attack_container_out_of_memory_does_not_take_the_shim_with_it() {
    let mut ground = up!("oom");
    ground.world.add_program("/usr/bin/tail");
    ground.pod.resources.memory_bytes_max = 32 << 20;
    ground.pod.resources.memory_swap_bytes_max = 32 << 20;
    let shim = ground.shim();
    for round in 0..3 {
        let (ended, _) = ground.run_to_end(&format!("c{round}"), "exec tail /dev/zero", |_| {}).await;
        assert_eq!(ended.exit, Exit::Signal { signal: 9, oom: true });
    }
    assert_eq!(ground.shim(), shim);
    assert!(matches!(ground.world.client.observe(&ground.pod.id).await.unwrap(), Observed::Shim { .. }));
    ground.end().await;
}

#[tokio::test]
async fn attack_fork_bomb_is_killed_whole() {
    /// A shell that can't fork ends, and its trap puts a fresh one in its place: nobody ever gives up.
    const BOMB: &str = r#"trap 'exec sh -c "$BOMB"' EXIT; while :; do sh -c "$BOMB" & done"#;
    const PROCESSES_MAX: i64 = 400;
    /// What the limit holds besides: the pod's init, and whoever is just being made.
    const OTHERS_MAX: i64 = 10;
    let mut ground = up!("bomb");
    ground.pod.resources.pids_max = PROCESSES_MAX;
    let environment = |spec: &mut ContainerSpec| spec.process.env.push(("BOMB".into(), BOMB.into()));
    let running = ground.start("one", r#"exec 2> /dev/null; exec sh -c "$BOMB""#, environment).await;
    let procs = || {
        let leaf = format!("{}/one", ground.cgroup());
        let hierarchies = orlop_cgroups::Hierarchies::detect().unwrap();
        let path = orlop_cgroups::CgroupPath::parse(&leaf).unwrap();
        let leaf = orlop_cgroups::Leaf::open(&hierarchies, &path).unwrap();
        leaf.map_or(0, |leaf| leaf.procs().unwrap().len())
    };
    wait_for("as many processes as may be", || (procs() as i64 + OTHERS_MAX > PROCESSES_MAX).then_some(())).await;
    ground.world.client.kill(&ground.pod.id, &running.id).await.unwrap();
    assert_eq!(procs(), 0);
    assert_eq!(ground.world.wait_ended(&running.id).await.exit, Exit::Signal { signal: 9, oom: false });
    ground.end().await;
}

#[tokio::test]
async fn attack_hundreds_of_containers_and_execs_leave_no_descriptor_in_the_shim() {
    const CYCLES: usize = 200;
    let ground = up!("fdleak");
    let shim = ground.shim();
    let open = || std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    let mut before = None;
    for round in 0..CYCLES {
        let running = ground.start("one", "exec sleep 1000", |_| {}).await;
        ground.exec(&running, "exit 3").await;
        // Some fail, in every way there is.
        match round % 3 {
            0 => drop(ground.world.exec(&ground.pod, &running.spec, &running.id, &["/missing"], None).await),
            1 => drop(ground.launch("two", "", |spec| spec.process.command = vec!["/missing".to_owned()]).await),
            _ => {}
        }
        ground.drop(&running.id).await;
        // The first has made what is kept.
        before.get_or_insert_with(open);
    }
    assert_eq!(Some(open()), before);
    ground.end().await;
}

#[tokio::test]
async fn attack_exec_whose_caller_went_away_does_not_go_on() {
    let ground = up!("gone");
    let running = ground.start("one", "sleep 1000", |_| {}).await;
    {
        let exec = ground.world.exec(&ground.pod, &running.spec, &running.id, &["/bin/sleep", "7654"], None);
        tokio::time::timeout(Duration::from_millis(300), exec).await.unwrap_err();
    }
    wait_for("the end of the exec", || {
        let here = |line: &str| line == "/bin/sleep\x007654\x00";
        let lines = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = lines.map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default());
        (!lines.any(|line| here(&line))).then_some(())
    })
    .await;
    ground.end().await;
}

#[tokio::test]
async fn attack_process_that_does_not_die_holds_up_nobody_else() {
    let ground = up!("slowkill");
    let freezer = std::path::PathBuf::from(format!("/sys/fs/cgroup/freezer{}/freezer.state", ground.cgroup()));
    if !freezer.exists() {
        eprintln!("skipped: only the v1 freezer can keep a process from dying");
        return ground.end().await;
    }
    let stuck = ground.start("stuck", "sleep 1000", |_| {}).await;
    let other = ground.start("other", "sleep 1000", |_| {}).await;
    // Above the container's own cgroup, so that the shim can't thaw it.
    std::fs::write(&freezer, "FROZEN").unwrap();
    let began = Instant::now();
    let kill = async { (ground.world.client.kill(&ground.pod.id, &stuck.id).await, began.elapsed()) };
    let meanwhile = async {
        // It is thawed only then: who is held up by it gets no answer.
        for _ in 0..20 {
            ground.world.client.observe(&ground.pod.id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::fs::write(&freezer, "THAWED").unwrap();
    };
    let ((killed, took), ()) = tokio::join!(kill, meanwhile);
    killed.unwrap();
    assert!(took >= Duration::from_secs(1), "it could die at once: {took:?}");
    assert_eq!(ground.world.wait_ended(&stuck.id).await.exit, Exit::Signal { signal: 9, oom: false });
    assert_eq!(ground.exec_said(&other, "echo alive").await, "alive\n");
    ground.end().await;
}
