//! What the process uses, under the names that Prometheus clients give it.

use std::fmt;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc/self` each time that the metrics are asked for; where it cannot be read, nothing is said.
#[derive(Debug)]
pub(super) struct ProcessCollector;

struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    /// In seconds since 1970.
    start_time: f64,
    open_files: usize,
    files_max: Option<u64>,
    threads: i64,
}

impl Usage {
    fn of_this_process() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| number(ticks) / number(procfs::ticks_per_second());
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            start_time: number(procfs::boot_time_secs()?) + seconds(stat.starttime),
            open_files: process.fd_count()?,
            files_max: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(files) => Some(files),
                LimitValue::Unlimited => None,
            },
            threads: stat.num_threads,
        })
    }
}

/// Exact up to 2^53, which none of these come near.
#[expect(clippy::cast_precision_loss, reason = "bytes and ticks are far below 2^53")]
const fn number(of: u64) -> f64 {
    of as f64
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(usage) = Usage::of_this_process() else { return Ok(()) };
        let mut gauge = |name, help, value: Option<f64>| match value {
            Some(value) => {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
            }
            None => Ok(()),
        };
        gauge("process_resident_memory_bytes", "Resident memory size", Some(number(usage.resident_bytes)))?;
        gauge("process_virtual_memory_bytes", "Virtual memory size", Some(number(usage.virtual_bytes)))?;
        gauge("process_start_time_seconds", "When the process started, in Unix time", Some(usage.start_time))?;
        gauge("process_open_fds", "Open file descriptors", u32::try_from(usage.open_files).ok().map(f64::from))?;
        gauge("process_max_fds", "Most file descriptors that may be open", usage.files_max.map(number))?;
        gauge("process_threads", "Threads", i32::try_from(usage.threads).ok().map(f64::from))?;
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let help = "Processor time, of the user and of the system";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)
    }
}
