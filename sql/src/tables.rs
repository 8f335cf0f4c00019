//! The tables rows are written to, and the Arrow schema each takes.
//!
//! How a ClickHouse type is sent: `LowCardinality(String)` as `Dictionary(Int32, Utf8)`, other text as `Utf8`, raw
//! bytes as `Binary`, an `Enum8` as `Int8`, `UUID` as its 16 bytes in network order, `DateTime64(3)` as `Timestamp(ms, "UTC")`,
//! `DateTime` as `Timestamp(s, "UTC")`, a named tuple as a struct of the same field names, a map as a map. Nothing is nullable.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use kelly_schemas::Stream;

/// A table the pipeline writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Raw metrics, one row a record.
    SystemMetrics,
    /// What metrics come to by the minute, hour and day: one row a group of a [`RollupTier`].
    MetricRollups,
    /// Activity events as they came.
    ActivityEvents,
    /// Which row of `activity_events` counts for an id of an account.
    ActivityFirstSeen,
    /// What could not be taken from the log, and why.
    DeadLetters,
    /// Which of them were put on the log again.
    DeadLetterReplays,
    /// Which events users have read.
    ActivityReads,
    /// What the control log decided.
    ControlLog,
    /// Alerts as each decision left them.
    AlertInstances,
}

/// What a row of `metric_rollups` is: the first part of its key, which every question names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RollupTier {
    /// A metric and minute, with histogram.
    Minute = 1,
    /// A metric and hour, with histogram.
    Hour = 2,
    /// A metric, account and hour. Samples without an account are those of the account "".
    AccountHour = 3,
    /// The histogram of a metric, account and day. Its other columns are those of no sample, so that it adds up with
    /// [`RollupTier::AccountHour`].
    AccountDay = 4,
    /// A metric, conversation, account and day. Samples without a conversation are those of the conversation "".
    ConversationDay = 5,
    /// No samples: which ranges of the log are in (see [`crate::evidence`]).
    Marker = 6,
}

impl RollupTier {
    /// Every tier, in the order of their numbers.
    pub const ALL: [RollupTier; 6] = [
        RollupTier::Minute,
        RollupTier::Hour,
        RollupTier::AccountHour,
        RollupTier::AccountDay,
        RollupTier::ConversationDay,
        RollupTier::Marker,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            RollupTier::Minute => "minute",
            RollupTier::Hour => "hour",
            RollupTier::AccountHour => "account_hour",
            RollupTier::AccountDay => "account_day",
            RollupTier::ConversationDay => "conversation_day",
            RollupTier::Marker => "marker",
        }
    }

    /// Its number in the table.
    pub fn number(self) -> i8 {
        self as i8
    }
}

/// How long rows of a table are kept, and by which column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Expression of the moment a row's age counts from, as ClickHouse prints it.
    pub from: &'static str,
    /// Which setting bounds the age.
    pub bound: ExpiryBound,
}

/// The setting a table's retention follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryBound {
    /// `MONITORING_METRICS_RETENTION_HOURS`.
    MetricsHours,
    /// `MONITORING_DB_RETENTION_DAYS`.
    Days,
    /// `KELLY_AUDIT_RETENTION_DAYS`.
    AuditDays,
}

impl Table {
    /// Every table, in the order of the migrations that create them.
    pub const ALL: [Table; 9] = [
        Table::SystemMetrics,
        Table::MetricRollups,
        Table::ActivityEvents,
        Table::ActivityFirstSeen,
        Table::DeadLetters,
        Table::DeadLetterReplays,
        Table::ActivityReads,
        Table::ControlLog,
        Table::AlertInstances,
    ];

    /// The table that has every row of a stream as it came.
    pub fn of_rows(stream: Stream) -> Self {
        match stream {
            Stream::Metrics => Table::SystemMetrics,
            Stream::Activity => Table::ActivityEvents,
        }
    }

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Table::SystemMetrics => "system_metrics",
            Table::MetricRollups => "metric_rollups",
            Table::ActivityEvents => "activity_events",
            Table::ActivityFirstSeen => "activity_first_seen",
            Table::DeadLetters => "dead_letters",
            Table::DeadLetterReplays => "dead_letter_replays",
            Table::ActivityReads => "activity_reads",
            Table::ControlLog => "control_log",
            Table::AlertInstances => "alert_instances",
        }
    }

    /// The schema a batch for this table must have, exactly.
    pub fn arrow_schema(self) -> SchemaRef {
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// How long its rows live.
    pub fn expiry(self) -> Expiry {
        let (from, bound) = match self {
            Table::SystemMetrics => ("toDateTime(timestamp)", ExpiryBound::MetricsHours),
            Table::ActivityEvents => ("toDateTime(created_at)", ExpiryBound::Days),
            Table::ActivityFirstSeen => ("toDateTime(tupleElement(first, 'created_at'))", ExpiryBound::Days),
            Table::DeadLetters | Table::DeadLetterReplays => ("toDateTime(log_time)", ExpiryBound::Days),
            Table::MetricRollups => ("t", ExpiryBound::Days),
            Table::ActivityReads => ("ages_from", ExpiryBound::Days),
            Table::ControlLog | Table::AlertInstances => ("toDateTime(log_time)", ExpiryBound::AuditDays),
        };
        Expiry { from, bound }
    }
}

/// `Timestamp(ms, "UTC")`, as `DateTime64(3, 'UTC')` takes it.
pub fn milliseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// `Timestamp(s, "UTC")`, as `DateTime('UTC')` takes it.
pub fn seconds() -> DataType {
    DataType::Timestamp(TimeUnit::Second, Some("UTC".into()))
}

/// `Dictionary(Int32, Utf8)`, as `LowCardinality(String)` takes it.
pub fn low_cardinality() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Fields of the struct column `last`: the newest sample's time and value.
pub fn last_fields() -> Fields {
    Fields::from(vec![field("at", milliseconds()), field("value", DataType::Float64)])
}

/// Fields of the struct column `first` of `activity_first_seen`.
pub fn first_fields() -> Fields {
    Fields::from(vec![
        field("created_at", milliseconds()),
        field("log_partition", DataType::UInt16),
        field("log_offset", DataType::UInt64),
        field("log_row", DataType::UInt32),
    ])
}

/// The entries of the map column `histogram`: bucket and count.
pub fn histogram_entries() -> Arc<Field> {
    let fields = Fields::from(vec![field("keys", DataType::Int16), field("values", DataType::UInt64)]);
    Arc::new(field("entries", DataType::Struct(fields)))
}

static SCHEMAS: LazyLock<[SchemaRef; 9]> =
    LazyLock::new(|| Table::ALL.map(|table| Arc::new(Schema::new(columns(table)))));

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn columns(table: Table) -> Vec<Field> {
    match table {
        Table::SystemMetrics => vec![
            field("metric_name", low_cardinality()),
            field("metric_type", low_cardinality()),
            field("value", DataType::Float64),
            field("timestamp", milliseconds()),
            field("account_id", low_cardinality()),
            field("conversation_id", DataType::Utf8),
            field("user_id", DataType::Utf8),
            field("metadata", DataType::Utf8),
            field("log_partition", DataType::UInt16),
            field("log_offset", DataType::UInt64),
            field("log_row", DataType::UInt32),
            field("log_time", milliseconds()),
        ],
        Table::MetricRollups => vec![
            field("tier", DataType::Int8),
            field("conversation_id", DataType::Utf8),
            field("metric_name", low_cardinality()),
            field("account_id", low_cardinality()),
            field("t", seconds()),
            field("count", DataType::UInt64),
            field("sum", DataType::Float64),
            field("min", DataType::Float64),
            field("max", DataType::Float64),
            field("last", DataType::Struct(last_fields())),
            field("histogram", DataType::Map(histogram_entries(), false)),
        ],
        Table::ActivityEvents => vec![
            field("id", DataType::FixedSizeBinary(16)),
            field("event_type", low_cardinality()),
            field("title", DataType::Utf8),
            field("description", DataType::Utf8),
            field("account_id", low_cardinality()),
            field("conversation_id", DataType::Utf8),
            field("user_id", DataType::Utf8),
            field("severity", low_cardinality()),
            field("category", low_cardinality()),
            field("created_at", milliseconds()),
            field("metadata", DataType::Utf8),
            field("is_vip", DataType::UInt8),
            field("log_partition", DataType::UInt16),
            field("log_offset", DataType::UInt64),
            field("log_row", DataType::UInt32),
        ],
        Table::ActivityFirstSeen => vec![
            field("id", DataType::FixedSizeBinary(16)),
            field("account_id", low_cardinality()),
            field("first", DataType::Struct(first_fields())),
        ],
        Table::DeadLetters => vec![
            field("topic", low_cardinality()),
            field("log_partition", DataType::UInt16),
            field("log_offset", DataType::UInt64),
            field("log_row", DataType::UInt32),
            field("log_time", milliseconds()),
            field("reason_code", low_cardinality()),
            field("reason", DataType::Utf8),
            field("content_type", low_cardinality()),
            field("bytes", DataType::Binary),
        ],
        Table::DeadLetterReplays => vec![
            field("topic", low_cardinality()),
            field("log_partition", DataType::UInt16),
            field("log_offset", DataType::UInt64),
            field("log_row", DataType::UInt32),
            field("log_time", milliseconds()),
            field("run", DataType::Utf8),
            field("state", low_cardinality()),
            field("at", milliseconds()),
        ],
        Table::ActivityReads => vec![
            field("issuer", low_cardinality()),
            field("subject", DataType::Utf8),
            field("kind", low_cardinality()),
            field("mark", DataType::FixedSizeBinary(16)),
            field("created_at", milliseconds()),
            field("event_id", DataType::FixedSizeBinary(16)),
            field("account_id", low_cardinality()),
            field("scope", DataType::Utf8),
            field("arrived", DataType::Utf8),
            field("marked_at", milliseconds()),
            field("ages_from", seconds()),
        ],
        Table::ControlLog => vec![
            field("log_life", low_cardinality()),
            field("log_offset", DataType::UInt64),
            field("log_time", milliseconds()),
            field("command_id", DataType::FixedSizeBinary(16)),
            field("actor_kind", low_cardinality()),
            field("actor_id", DataType::Utf8),
            field("actor_role", low_cardinality()),
            field("op", low_cardinality()),
            field("alert_id", DataType::FixedSizeBinary(16)),
            field("verdict", low_cardinality()),
            field("reason", low_cardinality()),
            field("detail", DataType::Utf8),
            field("changes", DataType::Utf8),
            field("payload", DataType::Utf8),
            field("payload_hash", DataType::Binary),
            field("chain", DataType::Binary),
        ],
        Table::AlertInstances => vec![
            field("log_life", low_cardinality()),
            field("log_offset", DataType::UInt64),
            field("log_time", milliseconds()),
            field("alert_id", DataType::FixedSizeBinary(16)),
            field("steps", DataType::Utf8),
            field("status", low_cardinality()),
            field("severity", low_cardinality()),
            field("worst_severity", low_cardinality()),
            field("rule", low_cardinality()),
            field("rule_version", DataType::UInt32),
            field("account_id", low_cardinality()),
            field("conversation_id", DataType::Utf8),
            field("metric_name", low_cardinality()),
            field("raised_at", milliseconds()),
            field("value", DataType::Float64),
            field("threshold", DataType::Float64),
            field("explanation", DataType::Utf8),
            field("labels", DataType::Utf8),
            field("acknowledged_by", DataType::Utf8),
            field("acknowledged_at", milliseconds()),
            field("owner", DataType::Utf8),
            field("level", DataType::UInt8),
            field("resolved_by", DataType::Utf8),
            field("resolved_at", milliseconds()),
            field("resolved_reason", low_cardinality()),
            field("resolved_value", DataType::Float64),
            field("resolved_note", DataType::Utf8),
            field("incident", DataType::UInt64),
            field("version", DataType::UInt64),
        ],
    }
}
