//! The process itself, as Linux tells it in `/proc/self`; nothing elsewhere.
//!
//! Names and meaning are those of Prometheus' own client libraries.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::{Counter, IntGauge, proto::MetricFamily};

/// Clock ticks a second in `/proc`: Linux shows 100 to programs, whatever the
/// kernel's own are (`man 5 proc`, USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` whenever metrics are asked for.
pub(super) struct ProcessFigures {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    threads: IntGauge,
    open_files: IntGauge,
    open_files_max: IntGauge,
}

const MADE: &str = "the names in this file are valid";

impl ProcessFigures {
    pub(super) fn new() -> Self {
        let gauge = |name, help| IntGauge::new(name, help).expect(MADE);
        Self {
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "User and system CPU time spent, in seconds.",
            )
            .expect(MADE),
            resident_bytes: gauge("process_resident_memory_bytes", "Resident memory in bytes."),
            threads: gauge("process_threads", "Threads."),
            open_files: gauge("process_open_fds", "Open file descriptors."),
            open_files_max: gauge("process_max_fds", "Most file descriptors that may be open."),
        }
    }

    fn read(&self) {
        if let Ok(stat) = fs::read_to_string("/proc/self/stat")
            && let Some(seconds) = cpu_seconds(&stat)
        {
            // Two readers at once could take it back by a tick, which a counter must not.
            let more = seconds - self.cpu_seconds.get();
            self.cpu_seconds.inc_by(more.max(0.0));
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            if let Some(kib) = field(&status, "VmRSS:") {
                self.resident_bytes.set(kib.saturating_mul(1_024));
            }
            if let Some(threads) = field(&status, "Threads:") {
                self.threads.set(threads);
            }
        }
        if let Ok(limits) = fs::read_to_string("/proc/self/limits")
            && let Some(max) = field(&limits, "Max open files")
        {
            self.open_files_max.set(max);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // The directory that is being read is one of them.
            let count = files.count().saturating_sub(1);
            self.open_files
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// The first number after `name` on its line.
fn field(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of `/proc/self/stat`; the second, in brackets, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

impl Collector for ProcessFigures {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.cpu_seconds.desc();
        for gauge in [
            &self.resident_bytes,
            &self.threads,
            &self.open_files,
            &self.open_files_max,
        ] {
            all.extend(gauge.desc());
        }
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let mut all = self.cpu_seconds.collect();
        for gauge in [
            &self.resident_bytes,
            &self.threads,
            &self.open_files,
            &self.open_files_max,
        ] {
            all.extend(gauge.collect());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, field};

    #[test]
    fn proc_is_read_as_it_is_written() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 1 0 5 1 1";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("7 (a"), None);
        let status = "Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t9\n";
        assert_eq!(field(status, "VmRSS:"), Some(1_234));
        assert_eq!(field(status, "VmSwap:"), None);
        let limits = "Max open files            1024                 4096                 files\n";
        assert_eq!(field(limits, "Max open files"), Some(1_024));
        assert_eq!(field("Max open files   unlimited", "Max open files"), None);
    }
}
