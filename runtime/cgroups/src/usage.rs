//! What a cgroup uses. Reading is here, what the texts mean in [`read`], which is pure.
//!
//! Each figure comes from the hierarchy that has it: on a hybrid node memory from v1 and pressure from the unified tree.
//! A file that is not there (no such controller, an older kernel, the cgroup just removed) leaves its figure out.

mod read;

use crate::{Error, Leaf};

/// What the processes of a cgroup and of those below it use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Swap.
    pub swap: Option<Swap>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Waiting for the processor.
    pub cpu_pressure: Option<Pressure>,
    /// Waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Waiting for disks.
    pub io_pressure: Option<Pressure>,
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub usage: u64,
    /// Its own limit; `None` is unlimited.
    pub limit: Option<u64>,
    /// Anonymous.
    pub anon: u64,
    /// Page cache that was not used of late.
    pub inactive_file: u64,
    /// Page cache that was.
    pub active_file: u64,
    /// Page faults.
    pub faults: u64,
    /// Page faults that read from disk.
    pub major_faults: u64,
}

/// Swap, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Used.
    pub usage: u64,
    /// Its own limit; `None` is unlimited.
    pub limit: Option<u64>,
}

/// Waiting for one resource. Kernel, accounting/psi.rst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some process waited.
    pub some: Stall,
    /// All did.
    pub full: Stall,
}

/// How long was waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Hundredths of a percent of the last 10 s.
    pub avg10: u32,
    /// Of the last 60 s.
    pub avg60: u32,
    /// Of the last 300 s.
    pub avg300: u32,
    /// In all, microseconds.
    pub total_us: u64,
}

impl Leaf {
    /// Reads what it uses now.
    pub fn usage(&self) -> Result<Usage, Error> {
        let pressure = |file: &str| Ok::<_, Error>(self.text("", file)?.and_then(|text| read::pressure(&text)));
        Ok(Usage {
            cpu_ns: self.cpu_ns()?,
            memory: self.memory()?,
            swap: self.swap()?,
            tasks: match self.text("pids", "pids.current")? {
                Some(text) => read::number(&text),
                None => self.text("", "pids.current")?.and_then(|text| read::number(&text)),
            },
            cpu_pressure: pressure("cpu.pressure")?,
            memory_pressure: pressure("memory.pressure")?,
            io_pressure: pressure("io.pressure")?,
        })
    }

    fn cpu_ns(&self) -> Result<Option<u64>, Error> {
        Ok(match self.text("cpuacct", "cpuacct.usage")? {
            Some(text) => read::number(&text),
            // There in every cgroup of the unified tree, whatever its controllers.
            None => self.text("", "cpu.stat")?.and_then(|text| read::v2_cpu_ns(&text)),
        })
    }

    /// Reads what memory it uses.
    pub fn memory(&self) -> Result<Option<Memory>, Error> {
        let v1 = ["memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat"];
        if let Some([usage, limit, stat]) = self.texts("memory", v1)? {
            return Ok(read::v1_memory(&usage, &limit, &stat));
        }
        let v2 = ["memory.current", "memory.max", "memory.stat"];
        Ok(self.texts("", v2)?.and_then(|[usage, limit, stat]| read::v2_memory(&usage, &limit, &stat)))
    }

    fn swap(&self) -> Result<Option<Swap>, Error> {
        let v1 = ["memory.stat", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        if let Some([stat, memory, both]) = self.texts("memory", v1)? {
            return Ok(read::v1_swap(&stat, &memory, &both));
        }
        let v2 = ["memory.swap.current", "memory.swap.max"];
        Ok(self.texts("", v2)?.and_then(|[usage, limit]| read::v2_swap(&usage, &limit)))
    }

    /// Reads files that only mean something together; `None` when one is not there.
    fn texts<const N: usize>(&self, controller: &str, files: [&str; N]) -> Result<Option<[String; N]>, Error> {
        let mut texts = [const { String::new() }; N];
        for (text, file) in texts.iter_mut().zip(files) {
            match self.text(controller, file)? {
                Some(found) => *text = found,
                None => return Ok(None),
            }
        }
        Ok(Some(texts))
    }

    fn text(&self, controller: &str, file: &str) -> Result<Option<String>, Error> {
        match self.folder(controller) {
            Some(folder) => folder.read_if_there(file),
            None => Ok(None),
        }
    }
}
