//! What the kernel says of this process, under the names that every Prometheus client uses.
//!
//! The `prometheus` crate has this too, by way of a crate for all of `/proc` and a second copy of rustix; we need six numbers.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::sync::{Mutex, PoisonError};

/// Gauges and counters of the process, set when they are asked for.
pub(crate) struct ProcessMetrics {
    /// Held while they are set and read, so that two scrapes at once don't mix.
    numbers: Mutex<Numbers>,
    descs: Vec<Desc>,
}

struct Numbers {
    cpu: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_memory: Gauge,
    resident_memory: Gauge,
    start_time: Gauge,
    threads: Gauge,
}

/// The fields of `/proc/self/stat` that are shown, in its own units.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

// === impl ProcessMetrics ===

impl ProcessMetrics {
    pub(crate) fn new() -> Self {
        let gauge = |name, help| Gauge::new(name, help).expect("the names keep to the rules");
        let cpu = Counter::new("process_cpu_seconds_total", "Processor time used, user and system together.");
        let numbers = Numbers {
            cpu: cpu.expect("the names keep to the rules"),
            open_fds: gauge("process_open_fds", "Open file descriptors."),
            max_fds: gauge("process_max_fds", "Most file descriptors that may be open."),
            virtual_memory: gauge("process_virtual_memory_bytes", "Address space in use."),
            resident_memory: gauge("process_resident_memory_bytes", "Memory in use."),
            start_time: gauge("process_start_time_seconds", "When the process started, since 1970."),
            threads: gauge("process_threads", "Threads of the process."),
        };
        let descs = numbers.each().iter().flat_map(|one| one.desc()).cloned().collect();
        Self { numbers: Mutex::new(numbers), descs }
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        // Without /proc there is nothing to show, and a zero would be a lie.
        if numbers.set().is_none() {
            return Vec::new();
        }
        numbers.each().iter().flat_map(|one| one.collect()).collect()
    }
}

// === impl Numbers ===

impl Numbers {
    fn each(&self) -> [&dyn Collector; 7] {
        let Self { cpu, open_fds, max_fds, virtual_memory, resident_memory, start_time, threads } = self;
        [cpu, open_fds, max_fds, virtual_memory, resident_memory, start_time, threads]
    }

    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floating point numbers")]
    fn set(&self) -> Option<()> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let booted = boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        self.cpu.reset();
        self.cpu.inc_by(stat.cpu_ticks as f64 / ticks);
        // One of them is the folder that is being read.
        self.open_fds.set(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64);
        self.max_fds.set(getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |max| max as f64));
        self.virtual_memory.set(stat.virtual_bytes as f64);
        self.resident_memory.set(stat.resident_pages as f64 * rustix::param::page_size() as f64);
        self.start_time.set(booted as f64 + stat.start_ticks as f64 / ticks);
        self.threads.set(stat.threads as f64);
        Some(())
    }
}

impl Stat {
    /// proc(5): the second field is the program's name in brackets, and may hold anything, brackets too.
    fn parse(text: &str) -> Option<Self> {
        let (_, behind_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        // proc(5) counts from one, and the first field behind the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was booted, seconds since 1970.
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let text = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 9 0 5000 8192 3 1844";
        let expected = Stat { cpu_ticks: 42, threads: 9, start_ticks: 5000, virtual_bytes: 8192, resident_pages: 3 };
        assert_eq!(Stat::parse(text), Some(expected));
        for short in ["", "7 (a) S 1", "7 a S"] {
            assert_eq!(Stat::parse(short), None, "{short}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_this_process() {
        let metrics = ProcessMetrics::new();
        let value = |name: &str| {
            let families = metrics.collect();
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            if name.ends_with("_total") { metric.get_counter().get_value() } else { metric.get_gauge().get_value() }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        let before = value("process_cpu_seconds_total");
        assert!(value("process_cpu_seconds_total") < before + 1.0, "a second look adds nothing up");
    }
}
