//! Labelled series from files, and where they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, NaiveDateTime};
use clap::Args;

/// Where labelled series are.
#[derive(Args, Default, Clone)]
pub struct Data {
    /// Directory of labelled series, with nab/ and cloud-monitoring/ in it
    #[arg(long, env = "KELLY_BENCH_DATA", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Beside the clone.
const USUAL: &str = "../shared/data";

impl Data {
    /// A folder of series; an error says what is missing and how to get it.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let directory = self.data_dir.clone().unwrap_or_else(|| PathBuf::from(USUAL)).join(name);
        if !directory.is_dir() {
            bail!(
                "there are no labelled series in {}; say where they are with --data-dir or KELLY_BENCH_DATA. They are parts of \
                 numenta/NAB and microsoft/cloud-monitoring-dataset",
                directory.display()
            );
        }
        Ok(directory)
    }
}

/// A series, oldest first.
#[derive(Debug, Default, Clone)]
pub struct Series {
    pub name: String,
    pub times_ms: Vec<i64>,
    pub values: Vec<f64>,
    /// Whether a row is labelled as an anomaly, where the file says so by row.
    pub labels: Vec<bool>,
}

/// Reads a file of `time,value` or `time,value,label` with a header. Rows without a value are left out.
pub fn read(path: &Path, name: &str) -> Result<Series> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut series = Series { name: name.to_owned(), ..Series::default() };
    for (line, number) in text.lines().zip(1_usize..).skip(1) {
        let place = || format!("{}, line {number}", path.display());
        let mut fields = line.split(',').map(|field| field.trim().trim_matches('"'));
        let (Some(time), Some(value)) = (fields.next(), fields.next()) else {
            bail!("{}: a time and a value are expected", place());
        };
        if value.is_empty() {
            continue;
        }
        series.times_ms.push(time_ms(time).with_context(place)?);
        series.values.push(value.parse().with_context(|| format!("{}: `{value}` is no number", place()))?);
        series.labels.push(fields.next() == Some("1"));
    }
    Ok(series)
}

/// A time as these files write it: RFC 3339, or without a zone (UTC), or by its parts without leading zeros.
pub fn time_ms(text: &str) -> Result<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    Ok(time.with_context(|| format!("`{text}` is no time"))?.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_corpora() {
        for text in
            ["2014-04-10 07:15:00.000000", "2014-04-10 07:15:00", "2014-04-10T07:15:00Z", "2014-4-10 7:15:00"]
        {
            assert_eq!(time_ms(text).expect(text), 1_397_114_100_000, "{text}");
        }
        assert!(time_ms("yesterday").is_err());
    }

    #[test]
    fn what_is_missing_is_said() {
        let data = Data { data_dir: Some("/nowhere".into()) };
        let error = data.folder("nab").expect_err("it is not there").to_string();
        assert!(error.contains("/nowhere/nab") && error.contains("KELLY_BENCH_DATA"), "{error}");
    }
}
