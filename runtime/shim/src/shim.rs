//! The shim itself: one loop over sockets, children and pipes.

use crate::endings::Ending;
use crate::ends::Ends;
use crate::error::{Failed, Result, Tried};
use crate::journal;
use crate::log::{self, Which};
use crate::nodes::Node;
use crate::peers::{Caller, Peers};
use crate::poll::{Poll, Ready, Token};
use crate::sandbox::Sandbox;
use crate::supervise::{become_supervisor, listen};
use crate::task::{Place, Task, remove_quietly};
use nix::sys::signalfd::SignalFd;
use orlop_cgroups::{Hierarchies, Killing, Leaf, remove_tree};
use orlop_wire::frame::{Reply, SHIM_SOCKET};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// How long the last reply may wait for room in its socket.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One sandbox's supervisor.
#[derive(Debug)]
pub(crate) struct Shim {
    dir: PathBuf,
    listener: OwnedFd,
    pub(crate) signals: SignalFd,
    pub(crate) poll: Poll,
    pub(crate) peers: Peers,
    pub(crate) ends: Ends,
    pub(crate) node: Node,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) tasks: BTreeMap<String, Task>,
    /// Containers that are being killed or dropped.
    pub(crate) endings: BTreeMap<String, Ending>,
    /// Who is told once everything is down.
    pub(crate) shutting_down: Vec<Caller>,
    numbers: u32,
    /// Output is read into it.
    pub(crate) buffer: Vec<u8>,
}

// === impl Shim ===

impl Shim {
    /// Listens, and tells whoever started us.
    pub(crate) fn start(dir: PathBuf) -> Result<Self> {
        let signals = become_supervisor()?;
        let ends = Ends::open(&dir)?;
        let poll = Poll::new()?;
        let listener = listen(&dir.join(SHIM_SOCKET))?;
        poll.add(&listener, Token::Listener)?;
        poll.add(&signals, Token::Signals)?;
        let shim = Self {
            dir,
            listener,
            signals,
            poll,
            peers: Peers::new(),
            ends,
            node: Node::open()?,
            hierarchies: Hierarchies::detect().tried("find the cgroups of this node")?,
            sandbox: None,
            tasks: BTreeMap::new(),
            endings: BTreeMap::new(),
            shutting_down: Vec::new(),
            numbers: 0,
            buffer: vec![0; log::READ_BYTES],
        };
        say_ready(&shim.node)?;
        Ok(shim)
    }

    /// Serves until told to shut down.
    pub(crate) fn run(mut self) -> Result<()> {
        loop {
            for ready in self.poll.wait(self.next_deadline())? {
                self.handle(ready);
            }
            self.end_late_drains();
            self.go_on_with_endings();
            if !self.shutting_down.is_empty() && self.tasks.values().all(|task| task.ended().is_some()) {
                return self.go_down();
            }
        }
    }

    fn handle(&mut self, ready: Ready) {
        match ready.token {
            Token::Listener => self.peers.accept(&self.listener, &self.poll),
            Token::Signals => self.reap(),
            Token::Peer(number) if ready.writable => self.peers.flush(number, &self.poll),
            Token::Peer(number) => {
                for message in self.peers.read(number, &self.poll) {
                    self.answer(message);
                }
            }
            Token::Report(number) => self.hear_report(number),
            Token::Stdout(number) => self.read_output(number, Which::Stdout),
            Token::Stderr(number) => self.read_output(number, Which::Stderr),
        }
    }

    /// Returns a number that no task or exec has had.
    pub(crate) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// Splits off what starting a process takes.
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            node: &self.node,
            hierarchies: &self.hierarchies,
            sandbox: self.sandbox.as_ref(),
            tasks: &self.tasks,
            poll: &self.poll,
        }
    }

    pub(crate) fn reply(&mut self, caller: Caller, reply: &Reply, slots: Vec<OwnedFd>) {
        self.peers.reply(caller, reply, slots, &self.poll);
    }

    // === output ===

    fn read_output(&mut self, number: u32, which: Which) {
        let found = self.tasks.iter_mut().find(|(_, task)| task.number == number);
        let Some((id, task)) = found else { return };
        task.output.read(which, &mut self.buffer, &self.poll);
        if task.output.is_complete() {
            let id = id.clone();
            self.finish_if_drained(&id);
        }
    }

    // === the end ===

    /// Kills every process of the sandbox. Their ends come as always.
    pub(crate) fn bring_down(&mut self) {
        let sandbox = self.sandbox.as_ref().map(|sandbox| Leaf::open(&self.hierarchies, sandbox.cgroup()));
        if let Some(Ok(Some(leaf))) = sandbox
            && let Err(error) = Killing::begin().go_on(&leaf)
        {
            journal::write(&Failed::cgroup("kill the processes of the sandbox", &error).to_string());
        }
        // Until nothing is left of them, wherever their cgroups are.
        for id in self.tasks.keys().cloned().collect::<Vec<_>>() {
            self.end_task(&id, None);
        }
    }

    /// Removes what the shim made, says how everything ended, and ends.
    fn go_down(mut self) -> Result<()> {
        self.reap();
        let mut outcome = Ok(());
        for task in self.tasks.values_mut() {
            remove_quietly(task.leaf.take());
        }
        if let Some(sandbox) = self.sandbox.take() {
            outcome = remove_tree(&self.hierarchies, sandbox.cgroup()).tried("remove the cgroup of the sandbox");
        }
        // Pod init was killed with the sandbox's cgroup.
        self.reap();
        let _ = std::fs::remove_file(self.dir.join(SHIM_SOCKET));
        let reply = match &outcome {
            Ok(()) => {
                let ends = self.tasks.iter().filter_map(|(id, task)| Some((id.clone(), task.ended()?)));
                Reply::Down(ends.collect())
            }
            Err(error) => error.reply(),
        };
        for caller in std::mem::take(&mut self.shutting_down) {
            self.reply(caller, &reply, Vec::new());
        }
        self.peers.flush_all(&self.poll, LAST_WORDS);
        outcome
    }
}

/// Tells the spawner, which waits at the other end of standard input. Started by hand, there is nobody to tell.
fn say_ready(node: &Node) -> Result<()> {
    let stdin = std::io::stdin();
    let is_pipe = rustix::fs::fstat(&stdin)
        .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Fifo);
    if is_pipe {
        let _ = rustix::io::write(&stdin, b"1");
    }
    orlop_sys::child::place(node.null.as_fd(), 0).tried("close standard input")
}
