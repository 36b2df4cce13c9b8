//! Taking away what was left: processes, mounts, control groups, folders.

use super::host::{hierarchies, mounts};
use super::process::{Marks, Process, processes};
use crate::ground::collect_folders;
use crate::mark::MARK;
use crate::wait::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

/// Where each orlopd writes down what it has for itself; ARCHITECTURE.md, "Many daemons on one host".
pub(super) const CLAIMS: &str = "/run/orlop-claims";
/// How long killed processes may take to go.
const CLEAN_LIMIT: Duration = Duration::from_secs(5);

/// Takes away all that a program which was killed left on a ground that is no more than a name and a folder: every process
/// that carries the name, mounts below the folder, control groups of that name, and the folder. Goes on after an error.
///
/// # Panics
/// When the name is not that of a ground: an empty one would be carried by every process.
pub fn clear(name: &str, folder: &Path) {
    assert!(name.starts_with(MARK), "{name:?} is no name of a ground");
    let marks = Marks { names: vec![name.to_owned()], netns: Vec::new(), orphans_count: false };
    let me = std::process::id();
    kill_until_none(|all| all.values().filter(|process| process.pid != me && marks.marks(process)).collect());
    unmount_below(folder);
    remove_cgroups(name);
    remove_claims(Path::new(CLAIMS), folder);
    let _ = fs::remove_dir_all(folder);
}

/// Removes the claims of daemons whose root was below a folder, and the folder of claims once it is empty.
fn remove_claims(claims: &Path, folder: &Path) {
    let Ok(turn) = File::open(claims) else { return };
    // As daemons do: whoever changes the folder holds its lock. Without it the next daemon that starts clears dead ones away.
    if wait_for(CLEAN_LIMIT, || turn.try_lock().ok()).is_none() {
        return;
    }
    let below = format!("\"{}/", folder.display());
    for claim in fs::read_dir(claims).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if fs::read_to_string(&claim).is_ok_and(|text| text.contains(&below)) {
            let _ = fs::remove_file(claim);
        }
    }
    let _ = fs::remove_dir(claims);
}

/// Kills what `chosen` chooses until it chooses nothing that lives: a spawner may start another while we kill.
pub(super) fn kill_until_none(chosen: impl Fn(&BTreeMap<u32, Process>) -> Vec<&Process>) {
    let _ = wait_for(CLEAN_LIMIT, || {
        let all = processes();
        let living: Vec<&Process> = chosen(&all).into_iter().filter(|process| !process.zombie).collect();
        for process in &living {
            if let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        living.is_empty().then_some(())
    });
}

/// Takes away every mount below a folder, the newest first.
pub fn unmount_below(folder: &Path) {
    for mount in mounts().into_iter().rev().filter(|mount| mount.point.starts_with(folder)) {
        let _ = rustix::mount::unmount(&mount.point, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Removes the control groups of a name in every hierarchy, the deepest first. Those that stay in use stay.
pub fn remove_cgroups(name: &str) {
    // A killed process is in its group until it is reaped.
    let _ = wait_for(CLEAN_LIMIT, || {
        let mut found = Vec::new();
        hierarchies().iter().for_each(|root| collect_folders(&root.join(name), &mut found));
        found.iter().all(|cgroup| fs::remove_dir(cgroup).is_ok()).then_some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_lock::HostLock;
    use crate::scratch::Scratch;
    use std::process::Command;

    #[test]
    fn what_a_killed_program_left_is_taken_away_by_its_name() {
        // Guards of other tests would miss what goes.
        let _host = HostLock::alone();
        let scratch = Scratch::new().unwrap();
        let mounted = scratch.folder("mounted").unwrap();
        rustix::mount::mount("none", &mounted, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        let cgroups: Vec<_> = hierarchies().iter().map(|root| root.join(scratch.name()).join("below")).collect();
        cgroups.iter().for_each(|cgroup| fs::create_dir_all(cgroup).unwrap());
        let mut left = Command::new("sleep").arg("60").env("GROUND", scratch.name()).spawn().unwrap();
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();

        clear(scratch.name(), scratch.path());
        let spared = other.try_wait().unwrap().is_none();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!left.wait().unwrap().success());
        assert!(spared, "a process without the name was ended");
        assert!(mounts().iter().all(|mount| mount.point != mounted));
        assert!(cgroups.iter().all(|cgroup| !cgroup.parent().unwrap().exists()));
        assert!(!scratch.path().exists());
    }

    #[test]
    fn claims_of_daemons_below_a_folder_are_taken_away_and_others_stay() {
        let scratch = Scratch::new().unwrap();
        let claims = scratch.folder("claims").unwrap();
        let claim = |name: &str, root: &str| fs::write(claims.join(name), format!(r#"{{"root":"{root}"}}"#)).unwrap();
        claim("ours", "/ground/root");
        claim("other", "/ground-2/root");
        remove_claims(&claims, Path::new("/ground"));
        assert!(!claims.join("ours").exists() && claims.join("other").exists());
        remove_claims(&claims, Path::new("/ground-2"));
        assert!(!claims.exists());
    }

    #[test]
    #[should_panic(expected = "no name of a ground")]
    fn a_name_that_all_carry_is_refused() {
        clear("", Path::new("/nowhere"));
    }
}
