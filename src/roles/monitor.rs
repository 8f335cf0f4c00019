//! Kelly's own metrics and its machine's, recorded the way everybody's are: through the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use kelly_api::{Latencies, LatencyBook};
use kelly_directory::Space;
use kelly_ingest::IngestCounts;
use kelly_schemas::error_chain;
use kelly_stream::Log;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::parts::Part;
use super::progress::Progress;
use crate::config::{Config, Monitoring};
use crate::rows::{self, MetricRow};

/// Account under which Kelly's own metrics stand.
pub const ACCOUNT: &str = "kelly";

/// Response times recorded each interval at most; an even sample of them when there were more.
const RESPONSE_TIMES_AN_INTERVAL: usize = 100;

/// Where readings come from.
pub struct Sources {
    /// The log the rows go to.
    pub log: Arc<dyn Log>,
    /// Ingest, where this process has it.
    pub ingest: Option<Arc<Progress>>,
    /// Response times, where this process has an HTTP interface.
    pub latencies: Option<Arc<LatencyBook>>,
    /// Directory whose disk is watched.
    pub data: PathBuf,
}

/// The machine, read again at each sample. What a platform does not tell is left out.
pub struct Machine {
    system: Option<System>,
    process: Pid,
}

/// One look at machine and process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Readings {
    /// Busy share of all cores since the sample before, percent.
    pub load: Option<f64>,
    /// Used memory of the machine, percent.
    pub memory: Option<f64>,
    /// Used share of the data directory's disk, percent.
    pub disk: Option<f64>,
    /// Processor time and resident memory of Kelly's processes.
    pub own: Option<Own>,
}

/// What Kelly itself takes: this process and its children (the engine).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Own {
    /// Processor time since the sample before, percent of one processor.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub bytes: u64,
}

/// Everything one sample is made of.
#[derive(Debug)]
pub struct Sample<'a> {
    /// When.
    pub at_ms: i64,
    /// The machine.
    pub readings: Readings,
    /// Requests since the sample before.
    pub latencies: Option<&'a Latencies>,
    /// Ingest's counters at the sample before and now.
    pub ingest: Option<(&'a IngestCounts, &'a IngestCounts)>,
    /// Records ingest is behind.
    pub lag: Option<u64>,
}

/// Self-monitoring as a part of a role; none where it is off.
pub fn part(config: &Config, machine: Machine, sources: Sources) -> Option<Part> {
    let Monitoring { enabled, interval, .. } = config.monitoring;
    enabled.then(|| Part::task("self-monitoring", |stop| run(sources, interval, machine, stop)))
}

/// Samples until told to stop, the first time at once. Rows the log does not take are let go: the
/// next sample tells more than a late one.
async fn run(sources: Sources, interval: Duration, mut machine: Machine, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before = IngestCounts::default();
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let counts = sources.ingest.as_ref().map(|progress| progress.counts());
        let lag = match &sources.ingest {
            Some(progress) => progress.lag().await.ok(),
            None => None,
        };
        let latencies = sources.latencies.as_ref().map(|book| book.take());
        let rows = rows(&Sample {
            at_ms: Utc::now().timestamp_millis(),
            readings: machine.read(&sources.data),
            latencies: latencies.as_ref(),
            ingest: counts.as_ref().map(|now| (&before, now)),
            lag,
        });
        match sources.log.append(rows::records(&rows, &[])).await {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = error_chain(&error), "Kelly's own metrics are not recorded");
            }
            Err(_) => {}
        }
        before = counts.unwrap_or_default();
    }
}

/// The rows of a sample.
pub fn rows(sample: &Sample<'_>) -> Vec<MetricRow> {
    let row = |metric_name, value, metadata| MetricRow {
        metric_name,
        value,
        at_ms: sample.at_ms,
        account_id: ACCOUNT,
        conversation_id: None,
        user_id: None,
        metadata,
    };
    let readings = &sample.readings;
    let mut found = Vec::new();
    found.extend(readings.load.map(|percent| ("system_load", percent)));
    found.extend(readings.memory.map(|percent| ("memory_usage", percent)));
    found.extend(readings.disk.map(|percent| ("disk_usage", percent)));
    if let Some(own) = readings.own {
        found.extend([("kelly.cpu", own.cpu), ("kelly.memory", own.bytes as f64)]);
    }
    found.extend(sample.lag.map(|lag| ("kelly.ingest.lag", lag as f64)));
    if let Some((before, now)) = sample.ingest {
        let more = |count: fn(&IngestCounts) -> u64| count(now).saturating_sub(count(before)) as f64;
        found.push(("kelly.ingest.rows", more(|counts| counts.rows)));
        found.push(("kelly.ingest.batches", more(|counts| counts.batches)));
        found.push(("kelly.ingest.dead_letters", more(|counts| counts.dead_letters)));
    }
    let requests = sample.latencies.map(|latencies| latencies.requests);
    found.extend(requests.map(|requests| ("kelly.http.requests", requests as f64)));
    let mut rows: Vec<MetricRow> =
        found.into_iter().map(|(name, value)| row(name, rounded(value), None)).collect();
    if let Some(latencies) = sample.latencies {
        let stride = latencies.samples.len().div_ceil(RESPONSE_TIMES_AN_INTERVAL).max(1);
        rows.extend(latencies.samples.iter().step_by(stride).map(|one| {
            let about = serde_json::json!({ "route": one.class.route, "method": one.class.method });
            row("kelly.http.response_time", rounded(one.milliseconds), Some(about))
        }));
    }
    rows
}

/// Three digits are more than a reading is good for.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl Machine {
    /// Begins to watch; the first load is that since now.
    pub fn new() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self { system, process: Pid::from_u32(std::process::id()) }
    }

    /// Busy share of all cores since the last reading, percent.
    pub fn load(&mut self) -> Option<f64> {
        let system = self.system.as_mut()?;
        system.refresh_cpu_usage();
        Some(f64::from(system.global_cpu_usage()).clamp(0.0, 100.0))
    }

    fn read(&mut self, data: &Path) -> Readings {
        Readings { load: self.load(), memory: self.memory(), disk: self.disk(data), own: self.own() }
    }

    fn memory(&mut self) -> Option<f64> {
        let system = self.system.as_mut()?;
        system.refresh_memory();
        let total = system.total_memory();
        percent(total.saturating_sub(system.available_memory()), total)
    }

    fn own(&mut self) -> Option<Own> {
        let system = self.system.as_mut()?;
        system.refresh_processes_specifics(
            ProcessesToUpdate::All,
            true,
            ProcessRefreshKind::nothing().with_memory().with_cpu(),
        );
        let is_own =
            |process: &&Process| process.pid() == self.process || process.parent() == Some(self.process);
        system
            .processes()
            .values()
            .filter(is_own)
            .map(|process| Own { cpu: f64::from(process.cpu_usage()), bytes: process.memory() })
            .reduce(|sum, one| Own { cpu: sum.cpu + one.cpu, bytes: sum.bytes + one.bytes })
    }

    /// Used share of the directory's disk.
    fn disk(&self, data: &Path) -> Option<f64> {
        let Space { free, total, .. } = Space::at(data).ok()?;
        percent(total.saturating_sub(free), total)
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelly_api::{Observation, Observe};

    const READINGS: Readings =
        Readings { load: Some(12.34567), memory: Some(50.0), disk: None, own: Some(OWN) };
    const OWN: Own = Own { cpu: 1.5, bytes: 1_000 };

    fn named<'r>(rows: &'r [MetricRow], name: &str) -> Vec<&'r MetricRow> {
        rows.iter().filter(|row| row.metric_name == name).collect()
    }

    #[test]
    fn a_sample_tells_what_is_known_and_nothing_else() {
        let sample = Sample { at_ms: 5, readings: READINGS, latencies: None, ingest: None, lag: None };
        let rows = rows(&sample);
        let found: Vec<(&str, f64)> = rows.iter().map(|row| (row.metric_name, row.value)).collect();
        assert_eq!(
            found,
            [("system_load", 12.346), ("memory_usage", 50.0), ("kelly.cpu", 1.5), ("kelly.memory", 1_000.0),]
        );
        assert!(rows.iter().all(|row| row.account_id == ACCOUNT && row.at_ms == 5));
    }

    #[test]
    fn counters_tell_what_came_since_the_sample_before() {
        let before = IngestCounts { rows: 10, dead_letters: 1, ..IngestCounts::default() };
        let now = IngestCounts { rows: 25, dead_letters: 1, ..IngestCounts::default() };
        let rows = rows(&Sample {
            at_ms: 5,
            readings: READINGS,
            latencies: None,
            ingest: Some((&before, &now)),
            lag: Some(3),
        });
        assert_eq!(named(&rows, "kelly.ingest.rows")[0].value, 15.0);
        assert_eq!(named(&rows, "kelly.ingest.dead_letters")[0].value, 0.0);
        assert_eq!(named(&rows, "kelly.ingest.lag")[0].value, 3.0);
        for row in &rows {
            let known = kelly_schemas::Catalogue::builtin().known(row.metric_name);
            assert!(known.is_some(), "{} is not in the catalogue", row.metric_name);
        }
    }

    #[test]
    fn response_times_are_an_even_and_bounded_sample() {
        let book = LatencyBook::default();
        for request in 0..1_000 {
            book.observe(&Observation::of(("GET", "/livez"), 200, Duration::from_millis(request)));
        }
        let latencies = book.take();
        let rows = rows(&Sample {
            at_ms: 5,
            readings: READINGS,
            latencies: Some(&latencies),
            ingest: None,
            lag: None,
        });
        assert_eq!(named(&rows, "kelly.http.requests")[0].value, 1_000.0);
        let times = named(&rows, "kelly.http.response_time");
        assert_eq!(times.len(), RESPONSE_TIMES_AN_INTERVAL);
        assert_eq!(times[1].value - times[0].value, 10.0);
        assert_eq!(times[0].metadata.as_ref().unwrap()["route"], "/livez");
    }

    #[test]
    fn the_machine_can_be_read() {
        let readings = Machine::new().read(Path::new("."));
        assert!(readings.load.is_some_and(|percent| (0.0..=100.0).contains(&percent)));
        assert!(readings.memory.is_some_and(|percent| (0.0..=100.0).contains(&percent)));
        assert!(readings.own.is_some_and(|own| own.bytes > 0));
    }
}
