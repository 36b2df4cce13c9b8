//! One container by the stock docker CLI, shown step by step, in a real terminal where a person would sit at one.
//!
//! Values are checked, not only shown: a word made up at the start must come out of the terminal, of the log, of an exec, of
//! the page at the container's address and at a port of the node, and of the terminal again once it is attached to anew.

use super::run::{Ended, run as run_to_the_end};
use super::stage::Stage;
use super::terminal;
use super::transcript::{Move, Size};
use crate::docker::images;
use crate::docker::subject::{Subject, Which};
use crate::script::{Verdict, holds, same};
use crate::teller::{made_up_word, tell};
use orlop_testkit::{Ground, wait_for};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// The image.
const IMAGE: &str = "busybox";
/// The port of the node that leads to the container.
const PORT: u16 = 8080;
/// The size of the terminal.
const SIZE: Size = Size { rows: 24, columns: 80 };
/// The exit code that is typed in the end.
const CODE: i32 = 7;
/// How long a page may take to appear.
const APPEAR_LIMIT: Duration = Duration::from_secs(10);
/// What a shell asks the terminal, how it clears it, and where it draws its line anew: nothing for a reader.
const OF_SHELL: [&str; 3] = ["^[[6n", "^[[J", "^M"];

/// Shows it; returns whether all was as it should be and the host is as it was before.
pub fn run() -> io::Result<bool> {
    let begun = Instant::now();
    let subject = Subject::start(Which::Orlop, &images::all()?)?;
    tell("orlopd", begun, &format!("serves {}", subject.daemon().socket().display()));
    let shown = show(&subject);
    let ending = Instant::now();
    let leaks = subject.end();
    leaks.iter().for_each(|leak| println!("{leak}"));
    match shown {
        Err(why) => println!("MISMATCH: {why}"),
        Ok(()) if !leaks.is_empty() => println!("MISMATCH: the machine is not as it was before"),
        Ok(()) => {
            tell(
                "proof",
                ending,
                "mounts, processes, links, addresses, routes, nft, sysctls, cgroups, files: as before",
            );
            println!("the whole life took {:.1} s", begun.elapsed().as_secs_f64());
            return Ok(true);
        }
    }
    Ok(false)
}

fn show(subject: &Subject) -> Verdict {
    let stage = Stage::set_up(subject.daemon()).map_err(|e| format!("find a docker CLI: {e}"))?;
    stage.clear().map_err(|e| format!("clear the stage: {e}"))?;
    let demo = Demo { stage, ground: subject.daemon().ground(), word: made_up_word()? };
    println!("{:>10}  {:<18} {}", "", "the word", demo.word);
    demo.pull()?;
    demo.run_in_a_terminal()?;
    demo.look_beside()?;
    demo.attach_again()?;
    demo.remove_all()
}

struct Demo<'a> {
    stage: Stage<'a>,
    ground: &'a Ground,
    word: String,
}

impl Demo<'_> {
    fn pull(&self) -> Verdict {
        let format = "'CLI {{.Client.Version}}, API {{.Client.APIVersion}} of {{.Server.MinAPIVersion}} to {{.Server.APIVersion}}'";
        self.docker(&format!("version --format {format}"), |said| Ok(said.to_owned()))?;
        self.docker(&format!("pull {IMAGE}"), |said| {
            holds("what the pull said", said, &["Pull complete", "Downloaded newer image for busybox:latest"])?;
            Ok(said.lines().last().unwrap_or_default().to_owned())
        })
    }

    /// Types into a container in a terminal, and leaves it running.
    fn run_in_a_terminal(&self) -> Verdict {
        let page = "mkdir /www; echo the page says $WORD > /www/index.html; httpd -p 80 -h /www";
        let said = format!("the terminal says {}", self.word);
        let moves = [
            Move::Await("/ # ".to_owned()),
            // The word itself is not typed, so that what is echoed can't be taken for what was printed.
            Move::Type("echo the terminal says $WORD; stty size".to_owned()),
            Move::Await(said.clone()),
            Move::Await("/ # ".to_owned()),
            Move::Type(page.to_owned()),
            Move::Await("/ # ".to_owned()),
            Move::Press("^P^Q".to_owned()),
        ];
        let word = &self.word;
        let command = format!("docker run -it --name demo -p {PORT}:80 -e WORD={word} {IMAGE} sh");
        let ended = self.in_terminal(&command, &moves)?;
        same("the exit code of the CLI that left", ended.code, 0)?;
        let size = format!("{} {}", SIZE.rows, SIZE.columns);
        holds("what the terminal showed", &ended.stdout, &[&said, &size])
    }

    /// What is seen of it while nobody sits at its terminal.
    fn look_beside(&self) -> Verdict {
        self.docker("ps --format '{{.Names}}: {{.Status}}, {{.Ports}}'", |said| {
            holds("docker ps", said, &["demo: Up", "0.0.0.0:8080->80/tcp"])?;
            Ok(said.to_owned())
        })?;
        let said = format!("the terminal says {}", self.word);
        self.docker("logs demo", |log| {
            holds("the log", log, &[&said])?;
            Ok(format!("{} lines, among them: {said}", log.lines().count()))
        })?;
        let said = format!("exec says {}", self.word);
        self.docker("exec demo sh -c 'echo exec says $WORD'", |heard| {
            same("what the exec printed", heard, said.as_str())?;
            Ok(heard.to_owned())
        })?;
        let format = "'{{.NetworkSettings.IPAddress}}'";
        let mut address = String::new();
        self.docker(&format!("inspect --format {format} demo"), |said| {
            said.clone_into(&mut address);
            Ok(said.to_owned())
        })?;
        let address: IpAddr = address.parse().map_err(|e| format!("the container's address {address:?}: {e}"))?;
        self.page(address, 80)?;
        self.page(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)
    }

    fn page(&self, address: IpAddr, port: u16) -> Verdict {
        let begun = Instant::now();
        let page = wait_for(APPEAR_LIMIT, || self.ground.http_get(address, port, "/index.html").ok());
        let (_, page) = page.ok_or_else(|| format!("no page from http://{address}:{port}/"))?;
        same("the page", page.trim(), format!("the page says {}", self.word).as_str())?;
        tell("page", begun, &format!("http://{address}:{port}/: {}", page.trim()));
        Ok(())
    }

    /// Sits down at its terminal again, and ends it.
    fn attach_again(&self) -> Verdict {
        let said = format!("and again {}", self.word);
        let moves = [
            Move::Type("echo and again $WORD".to_owned()),
            Move::Await(said.clone()),
            Move::Await("/ # ".to_owned()),
            Move::Type(format!("exit {CODE}")),
        ];
        let ended = self.in_terminal("docker attach demo", &moves)?;
        holds("what the terminal showed", &ended.stdout, &[&said])?;
        same("the exit code of docker attach", ended.code, CODE)?;
        self.docker("inspect --format '{{.State.Status}} {{.State.ExitCode}}' demo", |state| {
            same("the container", state, format!("exited {CODE}").as_str())?;
            Ok(state.to_owned())
        })
    }

    fn remove_all(&self) -> Verdict {
        self.docker("rm demo", |said| Ok(said.to_owned()))?;
        self.docker(&format!("rmi {IMAGE}"), |said| {
            holds("what the removal said", said, &["Untagged: busybox:latest", "Deleted: sha256:"])?;
            Ok(format!("{} lines", said.lines().count()))
        })?;
        for (list, what) in [("ps --all --quiet", "containers"), ("images --all --quiet", "images")] {
            self.docker(list, |left| {
                same(what, left, "")?;
                Ok(format!("0 {what}"))
            })?;
        }
        Ok(())
    }

    /// Runs a docker command that must succeed, and tells what came of it.
    fn docker(&self, words: &str, told: impl FnOnce(&str) -> Verdict<String>) -> Verdict {
        let begun = Instant::now();
        let command = self.stage.command("sh", &[], &format!("docker {words}"));
        let Ended { stdout, stderr, code } = run_to_the_end(command).map_err(|e| format!("docker {words}: {e}"))?;
        if code != 0 {
            return Err(format!("docker {words} ended with {code}: {}", stderr.trim()));
        }
        let verb = words.split(' ').next().unwrap_or_default();
        tell(&format!("docker {verb}"), begun, &told(stdout.trim())?);
        Ok(())
    }

    /// Plays a command in a terminal, and shows what the terminal showed.
    fn in_terminal(&self, words: &str, moves: &[Move]) -> Verdict<Ended> {
        let begun = Instant::now();
        let command = self.stage.command("setsid", &["--ctty", "--wait", "sh"], words);
        let ended = terminal::play(command, SIZE, moves).map_err(|e| format!("{words}: {e}"))?;
        let verb: Vec<&str> = words.split(' ').take(2).collect();
        tell(&verb.join(" "), begun, &format!("in a terminal: {words}"));
        let shown = OF_SHELL.iter().fold(ended.stdout.clone(), |text, said| text.replace(said, ""));
        shown.lines().for_each(|line| println!("{:>31}{line}", "| "));
        if ended.stderr.is_empty() { Ok(ended) } else { Err(format!("{words}: {}", ended.stderr.trim())) }
    }
}
