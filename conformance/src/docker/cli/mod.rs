//! The stock docker CLI, played by a script whose expected output was recorded from Debian testing's dockerd.
//!
//! The scenes lie in `conformance/docker/scenes`: the commands, and below each what it printed there, through the
//! [`rules`]. `--record` plays them against dockerd and writes down what is seen.

pub mod demo;
mod rules;
mod run;
mod stage;
mod terminal;
mod transcript;

use super::subject::Daemon;
use crate::report::{Report, Spec, State};
use stage::Stage;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use transcript::{Item, Scene, Seen, Step};

/// Where the scenes are.
const SCENES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/scenes");

/// What is done with what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is compared with what was recorded.
    Compare,
    /// It becomes what was recorded.
    Record,
}

/// A scene in its file.
struct File {
    name: String,
    path: PathBuf,
    scene: Scene,
}

/// Plays all scenes whose name contains the word; returns how each command went.
pub fn play(daemon: &Daemon, only: Option<&str>, mode: Mode) -> io::Result<Report> {
    let stage = Stage::set_up(daemon)?;
    let mut specs = Vec::new();
    for mut file in read_scenes()?.into_iter().filter(|file| only.is_none_or(|word| file.name.contains(word))) {
        stage.clear()?;
        match mode {
            Mode::Compare => specs.extend(compare(&stage, &file)),
            Mode::Record => {
                specs.extend(record(&stage, &mut file)?);
                fs::write(&file.path, file.scene.to_string())?;
            }
        }
    }
    stage.clear()?;
    Ok(Report::of(specs))
}

/// Plays a scene and compares. Goes on after a difference; what can't be prepared fails the next command.
fn compare(stage: &Stage<'_>, file: &File) -> Vec<Spec> {
    let mut specs = Vec::new();
    let mut unprepared = None;
    for item in &file.scene.items {
        match item {
            Item::Remark(_) => (),
            Item::Prepare(words) => unprepared = unprepared.or(stage.prepare(words).err()),
            Item::Step(step) => {
                let judged = match unprepared.take() {
                    Some(error) => Err(error.to_string()),
                    None => judge(stage, step),
                };
                specs.push(spec(file, specs.len() + 1, step, judged));
            }
        }
    }
    specs
}

fn judge(stage: &Stage<'_>, step: &Step) -> Result<(), String> {
    let seen = stage.perform(step).map_err(|e| e.to_string())?;
    let Some((expected, found)) = step.seen.difference(&seen) else { return Ok(()) };
    println!("{}", shown_beside(step, &seen));
    Err(format!("expected {expected:?}, found {found:?}"))
}

/// Returns both for a person.
fn shown_beside(step: &Step, seen: &Seen) -> String {
    let indented = |seen: &Seen| {
        let lines: Vec<String> = seen.to_string().lines().map(|line| format!("        {line}")).collect();
        lines.join("\n")
    };
    let found = indented(seen);
    format!("    $ {}\n      expected\n{}\n      found\n{found}", step.command, indented(&step.seen))
}

fn spec(file: &File, number: usize, step: &Step, judged: Result<(), String>) -> Spec {
    let name = format!("{} {number}: {}", file.name, step.command);
    match &judged {
        Ok(()) => println!("ok      {name}"),
        Err(why) => println!("FAILED  {name}: {why}"),
    }
    let state = if judged.is_ok() { State::Passed } else { State::Failed };
    Spec { name, state, cause: judged.err().unwrap_or_default() }
}

/// Plays a scene and writes down what is seen.
fn record(stage: &Stage<'_>, file: &mut File) -> io::Result<Vec<Spec>> {
    let mut specs = Vec::new();
    for item in &mut file.scene.items {
        match item {
            Item::Remark(_) => (),
            Item::Prepare(words) => stage.prepare(words)?,
            Item::Step(step) => {
                step.seen = stage.perform(step)?;
                let name = format!("{} {}: {}", file.name, specs.len() + 1, step.command);
                println!("recorded {name}");
                specs.push(Spec { name, state: State::Passed, cause: String::new() });
            }
        }
    }
    Ok(specs)
}

/// Reads all scenes, in the order of their names.
fn read_scenes() -> io::Result<Vec<File>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(Path::new(SCENES))?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let scene = Scene::parse(&fs::read_to_string(&path)?);
        let scene = scene.map_err(|why| io::Error::other(format!("{}: {why}", path.display())))?;
        Ok(File { name, path, scene })
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must occur in the script.
    const VERBS: [&str; 31] = [
        "run", "attach", "exec", "ps", "logs", "cp", "stop", "start", "restart", "kill", "rm", "inspect", "images",
        "pull", "rmi", "events", "stats", "top", "wait", "rename", "pause", "unpause", "update", "history", "tag",
        "info", "version", "create", "port", "diff", "network",
    ];
    /// Flags that must occur in a `docker run`.
    const FLAGS: [&str; 7] = ["-it", "-d", "-p", "-v", "--rm", "--restart", "--name"];
    /// The fewest commands.
    const COMMANDS_MIN: usize = 50;

    #[test]
    fn every_verb_and_flag_occurs_and_there_are_commands_enough() {
        let files = read_scenes().unwrap();
        let commands: Vec<&str> =
            files.iter().flat_map(|file| file.scene.steps()).map(|step| step.command.as_str()).collect();
        assert!(commands.len() >= COMMANDS_MIN, "{} commands", commands.len());
        for verb in VERBS {
            let called = format!("docker {verb}");
            assert!(commands.iter().any(|command| command.contains(&called)), "{called}");
        }
        for flag in FLAGS {
            let used = |command: &&&str| command.contains("docker run") && command.split(' ').any(|word| word == flag);
            assert!(commands.iter().any(|command| used(&command)), "docker run {flag}");
        }
        let in_terminal = |verb: &str| {
            let steps = files.iter().flat_map(|file| file.scene.steps());
            steps.filter(|step| step.terminal.is_some()).any(|step| step.command.contains(verb))
        };
        assert!(["docker run", "docker attach", "docker exec"].into_iter().all(in_terminal));
    }

    #[test]
    fn scenes_are_written_as_they_would_be_recorded() {
        for file in read_scenes().unwrap() {
            assert_eq!(file.scene.to_string(), fs::read_to_string(&file.path).unwrap(), "{}", file.name);
        }
    }
}
