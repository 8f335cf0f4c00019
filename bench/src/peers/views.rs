//! The peers' tables are Kelly's; what Kelly's ingest computes, materialised views compute for them:
//! the raw rows and the same five tiers of rollups, histograms in the same buckets.

use kelly_schemas::histogram;
use kelly_sql::RollupTier;

/// Which rows a rollup's view aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollupsFrom {
    /// Those inserted into `system_metrics`: views one after the other, as the documentation has it.
    Raw,
    /// Those that pass through a `Null` table, beside the view of the raw rows.
    Null,
}

/// A tier of the rollups and the view that fills it.
pub struct View {
    tier: RollupTier,
    /// Over its rows, how many raw rows they stand for.
    counted: &'static str,
    /// The view's columns, by name, and where it reads, `{rows}` standing for that.
    select: String,
}

impl View {
    /// The tier's name.
    pub fn name(&self) -> &'static str {
        self.tier.name()
    }

    /// The question how many raw rows the tier stands for.
    pub fn counting(&self) -> String {
        format!("SELECT {} FROM metric_rollups WHERE tier = '{}'", self.counted, self.tier.name())
    }

    /// The statement that makes the view.
    pub fn create(&self, rows: &str) -> String {
        let (tier, select) = (self.tier.name(), self.select.replace("{rows}", rows));
        format!(
            "CREATE MATERIALIZED VIEW {tier}_filled TO metric_rollups AS SELECT '{tier}' AS tier, * FROM ({select})"
        )
    }
}

/// The rows of a Kafka table `source` as raw rows.
pub const RAW_FROM_SOURCE: &str = "SELECT metric_name, 'gauge' AS metric_type, value, \
    fromUnixTimestamp64Milli(timestamp, 'UTC') AS timestamp, account_id, conversation_id, '' AS user_id, \
    '' AS metadata, toUInt16(_partition) AS log_partition, toUInt64(_offset) AS log_offset, \
    toUInt32(0) AS log_row FROM source";

/// The five tiers of the rollups. The histograms are grouped by bucket first, which was the faster way to write them.
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
    let tier = |tier, counted, select| View { tier, counted, select };
    let by_count = "sum(count)";
    vec![
        tier(RollupTier::Minute, by_count, dense("toStartOfMinute(timestamp)")),
        tier(RollupTier::Hour, by_count, dense("toStartOfHour(timestamp)")),
        tier(
            RollupTier::AccountHour,
            by_count,
            sparse("metric_name, account_id", "toStartOfHour(timestamp)"),
        ),
        tier(
            RollupTier::AccountDay,
            "sum(arraySum(mapValues(histogram)))",
            format!(
                "SELECT metric_name, account_id, t, inf AS min, -inf AS max, \
                 CAST((0, -inf), 'Tuple(at DateTime64(3, \\'UTC\\'), value Float64)') AS last, \
                 CAST(mapFromArrays(groupArray(bucket), groupArray(n)), 'Map(Int16, UInt64)') AS histogram \
                 FROM (SELECT metric_name, account_id, toDateTime(toStartOfDay(timestamp)) AS t, {bucket} AS bucket, \
                 count() AS n FROM {{rows}} GROUP BY metric_name, account_id, t, bucket) GROUP BY metric_name, account_id, t"
            ),
        ),
        tier(
            RollupTier::ConversationDay,
            by_count,
            sparse("conversation_id, metric_name, account_id", "toDateTime(toStartOfDay(timestamp))"),
        ),
    ]
}
