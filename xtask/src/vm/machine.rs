//! The machine, seen from the host: booted, listened to, ended.

use super::jobs::{MACHINES, Orders};
use super::{Outcome, plain, verdict};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest life of a machine; CI allows vm-test three minutes in all.
const LIFE_MAX: Duration = Duration::from_secs(165);
/// Its memory, MiB. Taken page by page as the guest touches it.
const MEMORY_MIB: u64 = 1536;
/// Where its memory is kept when there is room for that of all: a file on a disk would be written to that disk.
const SHARED_MEMORY: &str = "/dev/shm";
/// What it is called; the name is seen in no namespace but its own.
const NAME: &str = "orlop-vm";

/// A folder of the machine's, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(number: usize) -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("{NAME}-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort; there is nobody left to tell.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the machine of a number to its end and returns the lines of its console. Those for people are printed as they come.
pub fn run(number: usize, orders: &Orders) -> Outcome<Vec<String>> {
    let folder = Folder::new(number)?;
    let file = folder.0.join("orders");
    fs::write(&file, orders.to_text()).map_err(|error| format!("write {}: {error}", file.display()))?;
    let said = folder.0.join("said");
    let mut machine = Machine::boot(&folder.0, &file, &said)?;
    let lines = machine.listen();
    drop(machine);
    if lines.is_empty() {
        // It could not even start; this is all there is to know.
        println!("{}", fs::read_to_string(&said).unwrap_or_default().trim_end());
    }
    Ok(lines)
}

/// A machine that runs.
struct Machine {
    process: Child,
    console: Receiver<String>,
}

// === impl Machine ===

impl Machine {
    fn boot(folder: &Path, orders: &Path, said: &Path) -> Outcome<Self> {
        let guest = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
        let mut command = Command::new("setpriv");
        // Whatever becomes of us, all its processes end: they live in a pid namespace whose first process dies with unshare,
        // and unshare dies with us.
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount", "--mount-proc", "--net", "--", "linux.uml"]);
        command.args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "loglevel=3"]);
        // A first process that fails is the end, and not a machine that hangs.
        command.args(["panic=1", "noreboot"]);
        // One console, on our pipe; no terminals and no input.
        command.args(["con=null", "con0=null,fd:1", "ssl=null"]);
        command.args([format!("mem={MEMORY_MIB}M"), format!("umid={NAME}"), format!("uml_dir={}", plain(folder)?)]);
        command.arg(format!("init={}", plain(&guest)?)).args(["--", "vm-guest", plain(orders)?]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TMPDIR", memory_folder(folder));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(said).map_err(|error| format!("write {}: {error}", said.display()))?);
        let mut process = command.spawn().map_err(|error| format!("start the machine: {error}"))?;
        let output = process.stdout.take().ok_or("the machine has no console")?;
        let (tell, console) = channel();
        // Ends with the pipe, and that with the machine.
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, console })
    }

    /// Prints and keeps what it says until it has powered off, or its time is over.
    fn listen(&mut self) -> Vec<String> {
        let deadline = Instant::now() + LIFE_MAX;
        let mut lines = Vec::new();
        loop {
            match self.console.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if !verdict::is_for_the_host(&line) {
                        println!("{line}");
                    }
                    lines.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => {
                    println!("vm: the machine still runs after {} s; it is ended", LIFE_MAX.as_secs());
                    return lines;
                }
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Quiet when it has powered off.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn memory_folder(otherwise: &Path) -> &Path {
    let shared = Path::new(SHARED_MEMORY);
    let room = rustix::fs::statvfs(shared).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    if room >= (MEMORY_MIB << 20) * MACHINES.len() as u64 { shared } else { otherwise }
}
