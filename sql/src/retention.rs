//! Retention follows the configuration: a table's TTL is altered when, and only when, it is another one.
//!
//! A part carries the times its rows expire at, under the TTL it was written with, and merges only pass them on: a longer
//! retention would lose old parts early, a shorter one keep them too long. So they are worked out anew, which takes
//! time with the amount of data. It is left to the engine to do beside everything else: a start-up does not wait. It
//! reads what the TTL depends on and rewrites no rows; a part that has expired is dropped whole by the next merge.
//! Between the change and that order a process can die: the journal of migrations tells that a change was begun.

use std::collections::BTreeSet;

use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::Result;
use crate::migrate::Record;
use crate::tables::{ExpiryBound, Table};
use crate::template::Values;

#[derive(Row, Deserialize)]
struct TableText {
    name: String,
    engine: String,
}

/// Alters the TTLs that differ from `values` or were begun to be altered; the names of the tables it altered.
pub(crate) async fn follow(
    store: &Store,
    values: &Values<'_>,
    begun: &BTreeSet<String>,
) -> Result<Vec<&'static str>> {
    let client = store.outside_database();
    let texts: Vec<TableText> = store
        .ask(
            "read the retention of its tables",
            client
                .query("SELECT name, engine_full AS engine FROM system.tables WHERE database = {database:String}")
                .param("database", values.database)
                .fetch_all(),
        )
        .await?;
    let mut changed = Vec::new();
    for table in Table::ALL {
        let wanted = interval(table, values);
        let current =
            texts.iter().find(|text| text.name == table.name()).and_then(|text| ttl_interval(&text.engine));
        if current == Some(wanted.as_str()) && !begun.contains(table.name()) {
            continue;
        }
        let on_cluster = values.cluster.map(|cluster| format!("ON CLUSTER '{cluster}'")).unwrap_or_default();
        let name = table.name();
        tracing::info!(
            table = name,
            from = current.unwrap_or("none"),
            to = wanted,
            "changing the retention; the parts there are follow in the background"
        );
        let alter = format!("ALTER TABLE {}.{name} {on_cluster}", values.database);
        let statements = [
            format!("{alter} MODIFY SETTING materialize_ttl_recalculate_only = 1"),
            format!(
                "{alter} MODIFY TTL {} + {wanted} SETTINGS materialize_ttl_after_modify = 0",
                table.expiry().from
            ),
            format!("{alter} MATERIALIZE TTL SETTINGS mutations_sync = 0"),
        ];
        let record =
            |state| Record { kind: "retention", number: table as u32, name, checksum: &wanted, state };
        store.record(record("started")).await?;
        for statement in &statements {
            store.execute(&format!("change the retention of {name}"), statement).await?;
        }
        store.record(record("applied")).await?;
        changed.push(name);
    }
    Ok(changed)
}

fn interval(table: Table, values: &Values<'_>) -> String {
    match table.expiry().bound {
        ExpiryBound::MetricsHours => format!("toIntervalHour({})", values.metrics_retention_hours),
        ExpiryBound::Days => format!("toIntervalDay({})", values.retention_days),
    }
}

/// The interval in `… TTL expression + toIntervalX(n) SETTINGS …`, as the server prints a table's engine.
fn ttl_interval(engine: &str) -> Option<&str> {
    let (_, ttl) = engine.split_once(" TTL ")?;
    let ttl = ttl.split(" SETTINGS ").next().unwrap_or(ttl);
    let start = ttl.find("toInterval")?;
    let end = start + ttl[start..].find(')')? + 1;
    Some(&ttl[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_found_in_the_servers_text() {
        let engine = "MergeTree PARTITION BY toDate(timestamp) ORDER BY (a, b) TTL toDateTime(timestamp) + toIntervalHour(72) SETTINGS x = 1";
        assert_eq!(ttl_interval(engine), Some("toIntervalHour(72)"));
        assert_eq!(ttl_interval("MergeTree ORDER BY a SETTINGS x = 1"), None);
    }
}
