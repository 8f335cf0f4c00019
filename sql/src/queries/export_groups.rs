//! Ranked groups as a file: figures that were answered already, which the store writes in whatever format is asked for, so that a
//! file holds what the answer does.

use serde::Serialize;

use crate::error::{Result, StoreError};

/// Ranked groups of one metric. At most a hundred, each within a kilobyte: their text stays below what ClickHouse takes of
/// a query, but for names of mostly control characters, which are written out seven times as long. Such an export fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupsExport<'a> {
    /// The metric.
    pub metric: &'a str,
    /// What a group is, by name.
    pub group_by: &'a str,
    /// Start of the window, milliseconds since 1970.
    pub from_ms: i64,
    /// End of the window.
    pub to_ms: i64,
    /// The groups, in their order.
    pub groups: &'a [GroupExportRow<'a>],
}

/// One group of a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GroupExportRow<'a> {
    /// Its place in the order.
    pub rank: u32,
    /// The account or the conversation.
    pub id: &'a str,
    /// Its samples under the metric's own aggregate.
    pub value: f64,
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean.
    pub mean: f64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The value of as much time before, where one is compared with.
    pub previous_value: Option<f64>,
    /// The change since in percent.
    pub percentage_change: Option<f64>,
}

/// The columns of a [`GroupExportRow`] with their types.
const COLUMNS: [(&str, &str); 13] = [
    ("rank", "UInt32"),
    ("id", "String"),
    ("value", "Nullable(Float64)"),
    ("count", "UInt64"),
    ("sum", "Nullable(Float64)"),
    ("mean", "Nullable(Float64)"),
    ("min", "Nullable(Float64)"),
    ("max", "Nullable(Float64)"),
    ("p50", "Nullable(Float64)"),
    ("p95", "Nullable(Float64)"),
    ("p99", "Nullable(Float64)"),
    ("previous_value", "Nullable(Float64)"),
    ("percentage_change", "Nullable(Float64)"),
];

/// Columns before those: metric_name, from, to, group_by.
const COLUMNS_BEFORE: usize = 4;

impl GroupsExport<'_> {
    /// The places of its columns of floats.
    pub(super) fn float_columns() -> Vec<usize> {
        let columns = (COLUMNS_BEFORE..).zip(COLUMNS);
        columns.filter(|(_, (_, kind))| kind.contains("Float64")).map(|(place, _)| place).collect()
    }

    /// The query that yields them. The groups stand in its text: as a parameter they would be part of an address, which is
    /// shorter than they may be.
    pub(super) fn text(&self) -> Result<String> {
        let groups = serde_json::to_string(self.groups).map_err(|error| StoreError::Unexpected {
            action: "export groups".to_owned(),
            detail: error.to_string(),
        })?;
        let types: Vec<String> = COLUMNS.iter().map(|(name, kind)| format!("`{name}` {kind}")).collect();
        let columns: Vec<String> =
            COLUMNS.iter().map(|(name, _)| format!("tupleElement(item, '{name}') AS `{name}`")).collect();
        Ok(format!(
            "SELECT {{metric:String}} AS metric_name, fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC') AS `from`, \
             fromUnixTimestamp64Milli({{to_ms:Int64}}, 'UTC') AS `to`, {{group_by:String}} AS group_by, {} \
             FROM (SELECT arrayJoin(JSONExtract({}, 'Array(Tuple({}))')) AS item) ORDER BY `rank`",
            columns.join(", "),
            literal(&groups),
            types.join(", "),
        ))
    }
}

/// A text as a literal of ClickHouse.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_literal() {
        for (text, expected) in [("a", "'a'"), ("'", r"'\''"), (r"\'", r"'\\\''"), (r"a\", r"'a\\'")] {
            assert_eq!(literal(text), expected);
        }
    }
}
