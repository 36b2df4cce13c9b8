//! A log that grows fast is rotated by the kubelet, and no line of what is kept is missing or there twice.

use crate::kubelet::config::LOG_FILES_MAX;
use crate::kubelet::pod::{LIMIT, Pod, container, messages, wait};
use crate::kubelet::stage::Stage;
use crate::script::{Verdict, same};
use flate2::read::GzDecoder;
use serde_json::json;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many lines are written, and how many a second: rotated every few seconds for half a minute.
const LINES: usize = 120_000;
const RATE: usize = 5_000;

pub fn play(stage: &Stage) -> Verdict {
    // It ends with 3 when one of its writes took longer than two seconds.
    let script = format!("/lines {LINES} {RATE} 2; echo ended with $?; sleep 1000");
    let pod = Pod::ask(stage, "log-rotation", json!({"containers": [container(stage, "main", &script)]}))?;
    pod.ready()?;
    let folder = pod.log_folder("main").ok_or("the kubelet doesn't know the pod")?;
    let mut most = 0;
    let ended = wait(LIMIT, || {
        most = most.max(files(&folder).len());
        pod.log("main").contains("ended with ").then(|| pod.log("main"))
    })?;
    let last = ended.ok_or("the writer has not ended")?;
    same("whether it was never held up", last.contains("ended with 0"), true)?;
    if !(2..=LOG_FILES_MAX + 1).contains(&most) {
        return Err(format!("there were {most} files at most"));
    }
    let kept = wait(LIMIT, || whole(&folder).ok())?;
    let text = kept.map_or_else(|| whole(&folder), Ok)?;
    let numbers: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let gap = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]);
    if let Some(gap) = gap {
        return Err(format!("{} is followed by {} in {:?}", gap[0], gap[1], files(&folder)));
    }
    same("the last line", numbers.last(), Some(&LINES))?;
    if numbers.first() == Some(&1) {
        return Err("nothing was rotated away".to_owned());
    }
    let call = stage.call(&["logs", "-pod", &pod.path(), "-container", "main", "-query", "tailLines=3"])?;
    let tail = call.end()?.stdout;
    same("the last number that the kubelet tells", tail.lines().next(), Some(LINES.to_string().as_str()))
}

/// Returns the files of a log, the oldest first: rotated ones carry their time, and the current one is last.
fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        listed.filter(|path| path.extension().is_none_or(|extension| extension != "tmp")).collect();
    // "0.log" is the shortest.
    found.sort_by_key(|path| (path.ends_with("0.log"), path.clone()));
    found
}

/// Reads all files of a log. Fails while the kubelet moves, packs or removes one.
fn whole(folder: &Path) -> Verdict<String> {
    let inodes =
        || files(folder).iter().map(|path| (fs::metadata(path).map(|file| file.ino()).ok(), path.clone())).collect();
    let before: Vec<_> = inodes();
    let mut text = String::new();
    for path in files(folder) {
        let mut file = File::open(&path).map_err(|e| format!("open {}: {e}", path.display()))?;
        let mut log = String::new();
        let read = match path.extension().is_some_and(|extension| extension == "gz") {
            true => GzDecoder::new(file).read_to_string(&mut log),
            false => file.read_to_string(&mut log),
        };
        read.map_err(|e| format!("read {}: {e}", path.display()))?;
        text.push_str(&messages(&log));
    }
    let after: Vec<_> = inodes();
    if before == after { Ok(text) } else { Err(format!("{} changed meanwhile", folder.display())) }
}
