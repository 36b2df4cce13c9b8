//! What a kubelet changes on the host, written down before it starts, so that it is put back whatever happens.
//!
//! Three take it up: the run itself in its end, the keeper (another process of this program) when the run was killed, and the
//! next run when the keeper was killed with it. Putting back may be done twice.

use orlop_testkit::Ground;
use orlop_testkit::debian::cache;
use orlop_testkit::guard::{clear, remove_cgroups, unmount_below};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Settings that a kubelet writes at its start; its `setupKernelTunables`.
const SYSCTLS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
/// Folders that it makes wherever its root folder is, those below first.
const FOLDERS: [&str; 4] =
    ["/var/lib/kubelet/device-plugins", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods"];
/// The one of them that it empties at its start, and the socket in it: on a machine that has a kubelet this must not run.
const DEVICE_PLUGINS: &str = "/var/lib/kubelet/device-plugins";
const DEVICE_PLUGINS_SOCKET: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";
/// The one in which it makes links to logs.
const LOG_LINKS: &str = "/var/log/containers";
/// How this program is called when it is the keeper.
pub const KEEPER: &str = "kubelet-keeper";
/// What the names of journals in the cache begin with.
const JOURNAL: &str = "kubelet-undo-";

/// What there was before.
#[derive(Debug, Serialize, Deserialize)]
pub struct Undo {
    /// Name of the ground, which processes and control groups carry.
    name: String,
    /// Folder of the ground.
    folder: PathBuf,
    /// Values of the settings.
    sysctls: BTreeMap<String, String>,
    /// Folders that were not there, those below first.
    absent: Vec<PathBuf>,
    /// Who puts it back when this program can't; none while that is being done. Dropped after the journal is gone.
    #[serde(skip)]
    keeper: Option<Keeper>,
}

// === impl Undo ===

impl Undo {
    /// Writes down what there is. What earlier runs left is put back first.
    pub fn note(ground: &Ground) -> io::Result<Self> {
        take_up_all()?;
        if std::os::unix::net::UnixStream::connect(DEVICE_PLUGINS_SOCKET).is_ok() {
            return Err(io::Error::other(format!("a kubelet runs on this machine: {DEVICE_PLUGINS_SOCKET} answers")));
        }
        let sysctls = SYSCTLS.iter().filter_map(|name| Some(((*name).to_owned(), read_sysctl(name)?))).collect();
        let absent = FOLDERS.iter().map(PathBuf::from).filter(|folder| !folder.exists()).collect();
        let (name, folder) = (ground.name().to_owned(), ground.path().to_owned());
        let mut undo = Self { name, folder, sysctls, absent, keeper: None };
        let journal = journal(&undo.name);
        let written = File::create(&journal)?;
        serde_json::to_writer(&written, &undo)?;
        written.sync_all()?;
        undo.keeper = Some(Keeper::start(&journal)?);
        Ok(undo)
    }

    /// Puts everything back, once kubelet and daemon have ended. Goes on after an error; [`Undo::differences`] tells.
    pub fn put_back(&self) {
        unmount_below(&self.folder);
        for (name, value) in &self.sysctls {
            if read_sysctl(name).as_ref() != Some(value) {
                let _ = fs::write(Path::new("/proc/sys").join(name), value);
            }
        }
        remove_log_links(&self.folder);
        if self.absent.iter().any(|folder| folder == Path::new(DEVICE_PLUGINS)) {
            let _ = fs::remove_dir_all(DEVICE_PLUGINS);
        }
        for folder in &self.absent {
            // One that somebody else keeps things in meanwhile stays.
            let _ = fs::remove_dir(folder);
        }
        remove_cgroups(&self.name);
    }

    /// Returns what is not as it was, in words.
    pub fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, before) in &self.sysctls {
            let now = read_sysctl(name).unwrap_or_default();
            if now != *before {
                found.push(format!("{name} was {before}, is {now}"));
            }
        }
        let there = self.absent.iter().filter(|folder| folder.exists());
        found.extend(there.map(|folder| format!("{} was not there", folder.display())));
        found
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.put_back();
        let _ = fs::remove_file(journal(&self.name));
    }
}

/// Puts back what a run left that was killed, by its journal.
fn take_up(journal: &Path) -> io::Result<()> {
    let Ok(text) = fs::read_to_string(journal) else { return Ok(()) };
    // Half of a journal was written before anything was changed.
    let Ok(undo) = serde_json::from_str::<Undo>(&text) else { return fs::remove_file(journal) };
    eprintln!("cleaning up behind a run that was killed: {}", undo.name);
    clear(&undo.name, &undo.folder);
    drop(undo);
    Ok(())
}

/// The same for all runs. Only while no other run goes on: the guard's lock is held.
fn take_up_all() -> io::Result<()> {
    fs::create_dir_all(cache())?;
    for entry in fs::read_dir(cache())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(JOURNAL)) {
            take_up(&path)?;
        }
    }
    Ok(())
}

fn journal(name: &str) -> PathBuf {
    cache().join(format!("{JOURNAL}{name}.json"))
}

fn read_sysctl(name: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().to_owned())
}

/// The kubelet removes the links of pods that are gone once a minute; those that it had no time for stay.
fn remove_log_links(ground: &Path) {
    for link in fs::read_dir(LOG_LINKS).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(ground)) {
            let _ = fs::remove_file(link);
        }
    }
}

// === the keeper ===

/// Another process of this program, which outlives it and then puts back what it could not.
#[derive(Debug)]
struct Keeper {
    process: Child,
}

impl Keeper {
    /// Starts it, in a process group of its own: what ends the run by its group spares it.
    fn start(journal: &Path) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(KEEPER).arg(journal).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        Ok(Self { process: command.spawn()? })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Its standard input ends: that is what it waits for. If all is put back it has nothing to do.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What the keeper does: waits for the end of the run, and puts back what is still to be.
pub fn keep(journal: &Path) -> io::Result<bool> {
    // Nobody writes; the end comes when the run has ended, however it did.
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    take_up(journal)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_testkit::Guard;

    #[test]
    fn settings_are_put_back_and_no_journal_is_left() {
        let guard = Guard::new();
        let ground = guard.ground();
        let undo = Undo::note(&ground).unwrap();
        let journal = journal(ground.name());
        let (name, before) = ("kernel/keys/root_maxkeys", undo.sysctls["kernel/keys/root_maxkeys"].clone());
        assert!(journal.exists());
        fs::write(Path::new("/proc/sys").join(name), "999999").unwrap();
        assert_eq!(undo.differences(), [format!("{name} was {before}, is 999999")]);
        drop(undo);
        assert_eq!(read_sysctl(name), Some(before));
        assert!(!journal.exists());
    }

    #[test]
    fn what_a_killed_run_left_is_put_back_by_its_journal() {
        let guard = Guard::new();
        let ground = guard.ground();
        let undo = Undo::note(&ground).unwrap();
        let journal = journal(ground.name());
        let copy = fs::read(&journal).unwrap();
        let before = read_sysctl("kernel/keys/root_maxbytes");
        drop(undo);
        fs::write(&journal, copy).unwrap();
        fs::write("/proc/sys/kernel/keys/root_maxbytes", "24999999").unwrap();
        take_up(&journal).unwrap();
        assert_eq!(read_sysctl("kernel/keys/root_maxbytes"), before);
        assert!(!journal.exists() && !ground.path().exists());
    }
}
