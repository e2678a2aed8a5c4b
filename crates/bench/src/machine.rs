//! Processors, processor time and memory of the machine and of this operating-system process.
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{UsageWho, getrusage},
    unistd::Pid,
};
use std::{env, fs, num::NonZero, thread, time::Duration};

/// Puts the calling thread, which runs the process with this index, on a processor, as the environment
/// variable `PIN` says: `spread` (the index modulo the number of processors), `leader` (the first process has
/// one to itself, the others share the next). With any other value it does nothing.
pub fn pin(index: usize) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let processor = match env::var("PIN").as_deref() {
        Ok("spread") => index % processors,
        Ok("leader") => index.min(1).min(processors - 1),
        _ => return,
    };
    let mut set = CpuSet::new();
    let pinned = set
        .set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        eprintln!("cannot pin process {index} to processor {processor}: {error}");
    }
}

/// The processor time of this operating-system process so far, of all its threads.
pub fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            Duration::from_secs(time.tv_sec().unsigned_abs())
                + Duration::from_micros(time.tv_usec().unsigned_abs())
        })
        .sum()
}

/// The most memory that this operating-system process has held so far, in MiB.
pub fn peak_memory_mib() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| usage.max_rss() as f64 / 1024.0)
}

/// The time that the host took from this machine's processors (steal), and the total time, in ticks.
pub fn stolen_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|word| word.parse().ok())
        .collect();
    (ticks.get(7).copied().unwrap_or(0), ticks.iter().sum())
}

/// The machine in one line: processors, kernel.
pub fn description() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model)
        .to_owned();
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} × {model}, Linux {}", kernel.trim())
}
