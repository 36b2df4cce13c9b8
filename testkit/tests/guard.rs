//! The guard is trusted by every other test, so here one thing of each kind is leaked, and must be reported by name.
#![allow(clippy::unwrap_used, reason = "this file is all tests")]

use orlop_testkit::guard::Kind;
use orlop_testkit::{Ground, Guard};
use std::fs;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The leaks here stay for good: waiting longer for them to go would only make the tests slow.
const IMPATIENT: Duration = Duration::from_millis(400);

/// Leaks something, and returns the report with which the guard fails the test.
fn report_of(leak: impl FnOnce(&Guard, &Arc<Ground>)) -> String {
    let guard = Guard::new().patient_for(IMPATIENT);
    let ground = guard.ground();
    leak(&guard, &ground);
    drop(ground);
    let panic = catch_unwind(AssertUnwindSafe(|| drop(guard))).expect_err("the guard must fail the test");
    panic.downcast_ref::<String>().expect("a report is text").clone()
}

#[track_caller]
fn assert_told(report: &str, kind: Kind, name: &str) {
    let told = report.lines().any(|line| line.contains(&format!(": {kind} ")) && line.contains(name));
    assert!(told, "{kind} {name} is missing in: {report}");
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// A child that does nothing for a minute, in a session of its own.
fn idle(ground: &Ground) -> Child {
    ground.command("sleep").arg("60").stdin(Stdio::null()).process_group(0).spawn().unwrap()
}

#[test]
fn nothing_left_is_no_failure() {
    let guard = Guard::new().patient_for(Duration::from_secs(5));
    let ground = guard.ground();
    let path = ground.path().to_owned();
    run(ground.command("ip").args(["link", "add", "gone0", "type", "bridge"]));
    run(ground.command("ip").args(["link", "del", "gone0"]));
    drop(ground);
    drop(guard);
    assert!(!path.exists(), "the guard removes its grounds");
}

#[test]
fn leaked_mount_is_told() {
    let report = report_of(|_, ground| {
        run(Command::new("mount").args(["-t", "tmpfs", "orlop-leak"]).arg(ground.join("root")));
    });
    assert_told(&report, Kind::Mount, "/root (tmpfs, orlop-leak)");
}

#[test]
fn leaked_temp_file_is_told_on_the_host_and_on_the_ground() {
    let name = format!("/tmp/orlop-t{}-leaked", std::process::id());
    let report = report_of(|_, ground| {
        fs::write(&name, "").unwrap();
        fs::write(ground.join("tmp/half-a-layer"), "").unwrap();
    });
    fs::remove_file(&name).unwrap();
    assert_told(&report, Kind::TempFile, &name);
    assert_told(&report, Kind::TempFile, "tmp/half-a-layer");
}

#[test]
fn leaked_run_file_is_told() {
    let report = report_of(|_, ground| {
        fs::create_dir_all(ground.join("run/sandboxes")).unwrap();
        fs::write(ground.join("run/sandboxes/a-record"), "").unwrap();
    });
    assert_told(&report, Kind::RunFile, "run/sandboxes/a-record");
}

#[test]
fn leaked_address_reservation_is_told_and_its_bookkeeping_is_not() {
    let report = report_of(|_, ground| {
        fs::create_dir_all(ground.join("ipam/orlop")).unwrap();
        fs::write(ground.join("ipam/orlop/10.88.0.7"), "").unwrap();
        fs::write(ground.join("ipam/orlop/last_reserved_ip.0"), "10.88.0.7").unwrap();
    });
    assert_told(&report, Kind::IpamFile, "10.88.0.7");
    assert!(!report.contains("last_reserved_ip"), "{report}");
}

#[test]
fn leaked_process_is_told_and_then_killed() {
    let mut child = None;
    let report = report_of(|_, ground| child = Some(idle(ground)));
    let mut child = child.unwrap();
    assert_told(&report, Kind::Process, &child.id().to_string());
    assert!(!child.wait().unwrap().success(), "the guard cleans up behind the test");
}

#[test]
fn orphan_of_another_session_is_told() {
    // The shell ends at once, so pid 1 inherits the sleeper: only its marks tell whose it is.
    let report = report_of(|_, ground| {
        run(ground.command("sh").args(["-c", "setsid sleep 61 </dev/null >/dev/null 2>&1 & exit 0"]));
    });
    assert_told(&report, Kind::Process, "sleep 61");
}

#[test]
fn leaked_zombie_is_told() {
    let mut child = None;
    let report = report_of(|_, ground| {
        let mut dying = idle(ground);
        dying.kill().unwrap();
        child = Some(dying);
    });
    let mut child = child.unwrap();
    assert_told(&report, Kind::Zombie, &child.id().to_string());
    child.wait().unwrap();
}

#[test]
fn leaked_link_address_and_route_are_told() {
    let report = report_of(|_, ground| {
        run(ground.command("ip").args(["link", "add", "leak0", "type", "bridge"]));
        run(ground.command("ip").args(["address", "add", "10.99.0.1/24", "dev", "leak0"]));
        run(ground.command("ip").args(["link", "set", "leak0", "up"]));
    });
    assert_told(&report, Kind::Link, "leak0");
    assert_told(&report, Kind::Address, "10.99.0.1/24 on leak0");
    assert_told(&report, Kind::Route, "10.99.0.0/24");
}

#[test]
fn leaked_nft_table_and_rule_are_told() {
    let report = report_of(|_, ground| {
        run(ground.command("nft").arg("add table ip leaky"));
        run(ground.command("nft").arg("add chain ip leaky c { type filter hook input priority 0; }"));
        run(ground.command("nft").arg("add rule ip leaky c counter accept"));
    });
    assert_told(&report, Kind::Nft, "table ip leaky");
    assert_told(&report, Kind::Nft, "rule ip leaky c");
}

#[test]
fn changed_sysctl_is_told_with_both_values() {
    let report = report_of(|_, ground| {
        ground.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "0")).unwrap();
    });
    assert_told(&report, Kind::Sysctl, "net.ipv4.ip_forward");
    assert!(report.contains("was \"1\", is \"0\""), "{report}");
}

#[test]
fn leaked_cgroup_is_told_and_then_removed() {
    let mut path = String::new();
    let report = report_of(|_, ground| {
        path = format!("{}{}", first_hierarchy(), ground.cgroup());
        fs::create_dir_all(Path::new(&path).join("pod")).unwrap();
    });
    assert_told(&report, Kind::Cgroup, &path);
    assert_told(&report, Kind::Cgroup, &format!("{path}/pod"));
    assert!(!Path::new(&path).exists(), "the guard cleans up behind the test");
}

/// A mount point of some control group hierarchy.
fn first_hierarchy() -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut cgroups = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    cgroups.find(|fields| fields[2].starts_with("cgroup")).expect("cgroups are mounted")[1].to_owned()
}

/// The test that leaks by a panic is this binary itself, run again for one test, so that its standard error can be read.
const AS_CHILD: &str = "ORLOP_GUARD_TEST_CHILD";

#[test]
fn leak_of_a_panicking_test_is_told() {
    if std::env::var_os(AS_CHILD).is_some() {
        let guard = Guard::new().patient_for(IMPATIENT);
        let ground = guard.ground();
        run(ground.command("nft").arg("add table ip left_by_panic"));
        panic!("the test itself fails");
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leak_of_a_panicking_test_is_told", "--nocapture"])
        .env(AS_CHILD, "1")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("the test itself fails"), "{error}");
    assert_told(&error, Kind::Nft, "table ip left_by_panic");
}

#[test]
fn leak_between_two_moments_is_told() {
    let guard = Guard::new().patient_for(IMPATIENT);
    let ground = guard.ground();
    let before = guard.now();
    assert_eq!(guard.differences(&before), []);
    fs::write(ground.join("run/late"), "").unwrap();
    assert_eq!(guard.differences(&before).len(), 1);
    fs::remove_file(ground.join("run/late")).unwrap();
    assert_eq!(guard.differences(&before), []);
}

#[test]
fn what_is_left_on_the_excepted_ground_is_not_told_and_on_another_it_is() {
    let guard = Guard::new().patient_for(IMPATIENT);
    let [ours, peers] = [guard.ground(), guard.ground()];
    let path = peers.path().to_owned();
    for ground in [&ours, &peers] {
        fs::write(ground.join("run/left"), "").unwrap();
    }
    let leaks = guard.finish_except(&peers);
    let told: Vec<String> = leaks.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains(ours.name()), "{told:?}");
    drop((ours, peers));
    assert!(!path.exists(), "the excepted ground is cleaned up, too");
}
