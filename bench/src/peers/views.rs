//! The peers' tables are Kelly's; what Kelly's ingest computes, materialised views compute for them:
//! the raw rows and the same five rollups, histograms in the same buckets.

use kelly_schemas::histogram;

/// Which rows a rollup's view aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollupsFrom {
    /// Those inserted into `system_metrics`: views one after the other, as the documentation has it.
    Raw,
    /// Those that pass through a `Null` table, beside the view of the raw rows.
    Null,
}

const BY_COUNT: &str = "sum(count)";

/// A table and the view that fills it.
pub struct View {
    /// Name of the table.
    pub table: &'static str,
    /// Over its rows, how many raw rows they stand for.
    counted: &'static str,
    /// The view's SELECT, `{rows}` standing for where it reads.
    select: String,
}

impl View {
    /// The question how many raw rows the table stands for.
    pub fn counting(&self) -> String {
        format!("SELECT {} FROM {}", self.counted, self.table)
    }

    /// The statement that makes the view.
    pub fn create(&self, rows: &str) -> String {
        let Self { table, select, .. } = self;
        format!("CREATE MATERIALIZED VIEW {table}_filled TO {table} AS {}", select.replace("{rows}", rows))
    }
}

/// The rows of a Kafka table `source` as raw rows.
pub const RAW_FROM_SOURCE: &str = "SELECT metric_name, 'gauge' AS metric_type, value, \
    fromUnixTimestamp64Milli(timestamp, 'UTC') AS timestamp, account_id, conversation_id, '' AS user_id, \
    '' AS metadata, toUInt16(_partition) AS log_partition, toUInt64(_offset) AS log_offset, \
    toUInt32(0) AS log_row FROM source";

/// The five rollups. The histograms are grouped by bucket first, which was the faster way to write them.
pub fn rollups() -> Vec<View> {
    let bucket = format!(
        "toInt16(if(abs(value) < {smallest:e}, 0, sign(value) * (ceil(log(abs(value)) / log({gamma})) + {offset})))",
        smallest = histogram::SMALLEST_MAGNITUDE,
        gamma = histogram::GAMMA,
        offset = histogram::OFFSET,
    );
    let dense = |start: &str| {
        format!(
            "SELECT metric_name, t, sum(n) AS count, sum(s) AS sum, min(least) AS min, max(greatest) AS max, \
             CAST(max(newest), 'Tuple(at DateTime64(3, \\'UTC\\'), value Float64)') AS last, \
             CAST(mapFromArrays(groupArray(bucket), groupArray(n)), 'Map(Int16, UInt64)') AS histogram \
             FROM (SELECT metric_name, {start} AS t, {bucket} AS bucket, count() AS n, sum(value) AS s, \
             min(value) AS least, max(value) AS greatest, max((timestamp, value)) AS newest \
             FROM {{rows}} GROUP BY metric_name, t, bucket) GROUP BY metric_name, t"
        )
    };
    let sparse = |keys: &str, start: &str| {
        format!(
            "SELECT {keys}, {start} AS t, count() AS count, sum(value) AS sum, min(value) AS min, \
             max(value) AS max, CAST(max((timestamp, value)), 'Tuple(at DateTime64(3, \\'UTC\\'), value Float64)') AS last \
             FROM {{rows}} GROUP BY {keys}, t"
        )
    };
    vec![
        View { table: "metrics_1m", counted: BY_COUNT, select: dense("toStartOfMinute(timestamp)") },
        View { table: "metrics_1h", counted: BY_COUNT, select: dense("toStartOfHour(timestamp)") },
        View {
            table: "account_metrics_1h",
            counted: BY_COUNT,
            select: sparse("metric_name, account_id", "toStartOfHour(timestamp)"),
        },
        View {
            table: "account_metrics_1d",
            counted: "sum(arraySum(mapValues(histogram)))",
            select: format!(
                "SELECT metric_name, account_id, t, \
                 CAST(mapFromArrays(groupArray(bucket), groupArray(n)), 'Map(Int16, UInt64)') AS histogram \
                 FROM (SELECT metric_name, account_id, toDateTime(toStartOfDay(timestamp)) AS t, {bucket} AS bucket, \
                 count() AS n FROM {{rows}} GROUP BY metric_name, account_id, t, bucket) GROUP BY metric_name, account_id, t"
            ),
        },
        View {
            table: "conversation_metrics_1d",
            counted: BY_COUNT,
            select: sparse("conversation_id, metric_name, account_id", "toDateTime(toStartOfDay(timestamp))"),
        },
    ]
}
