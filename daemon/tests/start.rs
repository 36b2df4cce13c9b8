//! What a person sees who starts the daemon wrongly: the exit status and one sentence, with nothing left behind.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn start(flags: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_orlopd")).env_remove("ORLOPD_CONFIG").args(flags).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn check(flags: &[&str], status: i32, says: &[&str]) {
    let (code, said) = start(flags);
    assert_eq!(code, Some(status), "{said}");
    for part in says {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn settings_that_can_not_be_used_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("unknown.toml"), "root = '/x'\nbridg = 'y'\n").unwrap();
    check(&["--config", &path("unknown.toml")], 78, &["orlopd: understand the settings", "bridg", "line 2"]);
    check(&["--config", &path("missing.toml")], 78, &["read the settings in", "missing.toml", "No such file"]);
    check(&["--root", "relative"], 78, &["root is \"relative\"", "absolute"]);
    check(&["--subnet", "10.0.0.1/16"], 2, &["--subnet", "behind its prefix"]);
    check(&["--bridg", "x"], 2, &["--bridg"]);
    check(&["--metrics-listen", "9620"], 2, &["--metrics-listen", "127.0.0.1:9620"]);
    check(&["--metrics-listen", "0.0.0.0:9620"], 78, &["metrics_listen", "--metrics-allow-network"]);
}

#[test]
fn a_folder_that_can_not_be_made_or_trusted_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    check(&["--root", "/dev/null/root"], 1, &["orlopd: make folder /dev/null/root: Not a directory"]);
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    check(&["--root", open.to_str().unwrap()], 1, &["open: its mode is 777", "chmod it to 700"]);
    let root = dir.path().join("root");
    check(&["--root", root.to_str().unwrap(), "--run", open.to_str().unwrap()], 1, &["its mode is 777"]);
    assert_eq!(mode(&root), 0o700);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn help_says_what_a_person_needs() {
    let flags =
        ["--root", "--run", "--socket", "--config", "--shim", "--cgroup-root", "--log-format", "--metrics-listen"];
    check(&["--help"], 0, &flags);
    check(&["--help"], 0, &["[default: /var/lib/orlop]", "ORLOPD_LOG", "78 settings can't be used"]);
    check(&["--version"], 0, &[env!("CARGO_PKG_VERSION")]);
}
