//! CPU time of processes, from the operating system's own books.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

/// User and system time a process and its ended children have used so far.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The second field is the command in parentheses and may hold anything; count from its end.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: sysconf reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second))
}

/// CPU time used between two looks, by name of the process.
pub struct CpuWatch {
    processes: Vec<(&'static str, u32, Duration)>,
}

impl CpuWatch {
    /// Begins to watch.
    pub fn start(processes: &[(&'static str, u32)]) -> Result<Self> {
        let processes =
            processes.iter().map(|&(name, pid)| Ok((name, pid, cpu_time(pid)?))).collect::<Result<_>>()?;
        Ok(Self { processes })
    }

    /// What each has used since.
    pub fn used(&self) -> Result<Vec<(&'static str, Duration)>> {
        self.processes
            .iter()
            .map(|&(name, pid, before)| Ok((name, cpu_time(pid)?.saturating_sub(before))))
            .collect()
    }

    /// What each has used since, which is `elapsed` ago, as percent of one core.
    pub fn percent_of_a_core(&self, elapsed: Duration) -> Result<BTreeMap<&'static str, f64>> {
        let used = self.used()?;
        let percent = |used: Duration| 100.0 * used.as_secs_f64() / elapsed.as_secs_f64();
        Ok(used.into_iter().map(|(name, used)| (name, percent(used))).collect())
    }
}
