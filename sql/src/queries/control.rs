//! What the control log decided, as it is kept for audits: written by whoever follows the log, as often as they like.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt8Array, UInt32Array, UInt64Array,
};

use crate::client::Store;
use crate::error::{Result, StoreError};
use crate::tables::Table;

/// A row of `control_log`.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRow {
    /// Offset of the record.
    pub offset: u64,
    /// The log's time of it, in milliseconds since 1970.
    pub log_time_ms: i64,
    /// The command's id; zero for none.
    pub command_id: [u8; 16],
    /// What kind of somebody wrote it.
    pub actor_kind: String,
    /// Who.
    pub actor_id: String,
    /// Under which role.
    pub actor_role: String,
    /// What it does; empty when it is no command.
    pub op: String,
    /// The alert it is about; zero for none.
    pub alert_id: [u8; 16],
    /// The verdict's word.
    pub verdict: String,
    /// Its reason's word.
    pub reason: String,
    /// The verdict as JSON.
    pub detail: String,
    /// What changed, as JSON.
    pub changes: String,
    /// The record; empty when it is no command.
    pub payload: String,
    /// SHA-256 of the record.
    pub payload_hash: [u8; 32],
    /// The chain up to it.
    pub chain: [u8; 32],
}

/// A row of `alert_instances`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// Offset of the record that changed it.
    pub offset: u64,
    /// The log's time of it, in milliseconds since 1970.
    pub log_time_ms: i64,
    /// The alert.
    pub alert_id: [u8; 16],
    /// What happened, with commas between.
    pub steps: String,
    /// Where it is in its life.
    pub status: String,
    /// Its severity.
    pub severity: String,
    /// The worst it has been.
    pub worst_severity: String,
    /// Its rule.
    pub rule: String,
    /// The rule's version.
    pub rule_version: u32,
    /// Its account; empty for none.
    pub account_id: String,
    /// Its conversation; empty for none.
    pub conversation_id: String,
    /// Its metric; empty for none.
    pub metric_name: String,
    /// When it was raised (event time), in milliseconds since 1970.
    pub raised_ms: i64,
    /// The newest value.
    pub value: Option<f64>,
    /// Its threshold.
    pub threshold: Option<f64>,
    /// What is wrong.
    pub explanation: String,
    /// Labels as JSON.
    pub labels: String,
    /// Who acknowledged it; empty for nobody.
    pub acknowledged_by: String,
    /// When, in milliseconds since 1970.
    pub acknowledged_ms: Option<i64>,
    /// Who owns it; empty for nobody.
    pub owner: String,
    /// Its level.
    pub level: u8,
    /// Who resolved it; empty for nobody.
    pub resolved_by: String,
    /// When, in milliseconds since 1970.
    pub resolved_ms: Option<i64>,
    /// Why the data say that it is over; empty when they do not.
    pub resolved_reason: String,
    /// The value then.
    pub resolved_value: Option<f64>,
    /// What the person said who resolved it.
    pub resolved_note: String,
    /// Its incident.
    pub incident: u64,
    /// Its version.
    pub version: u64,
}

impl Store {
    /// The offset behind the last record of this life of the control log that is kept; `None` when there is none. Every
    /// record before it was written: who writes goes on there, in order.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn decisions_end(&self, life: &str) -> Result<Option<u64>> {
        let (count, end): (u64, u64) = self
            .ask(
                "look how far the control log is written down",
                self.client()
                    .query(
                        "SELECT count(), max(log_offset) + 1 FROM control_log WHERE log_life = {life:String}",
                    )
                    .param("life", life)
                    .fetch_one(),
            )
            .await?;
        Ok((count > 0).then_some(end))
    }

    /// Writes records in order, all of one week (see [`crate::evidence::week_of`]): a block of two weeks could be there by
    /// half, and its end would hide that. The alerts first: the records say how far all is written.
    ///
    /// # Errors
    /// When it is not certain that they were written; they can be written again.
    pub async fn write_decisions(
        &self,
        life: &str,
        decisions: &[DecisionRow],
        alerts: &[AlertRow],
    ) -> Result<()> {
        let (Some(first), Some(last)) = (decisions.first(), decisions.last()) else { return Ok(()) };
        let token = format!("control:{life}:{}-{}", first.offset, last.offset);
        if !alerts.is_empty() {
            let batch = batch(Table::AlertInstances, alert_columns(life, alerts)?)?;
            self.insert(Table::AlertInstances, &batch, &token).await?;
        }
        let batch = batch(Table::ControlLog, decision_columns(life, decisions)?)?;
        self.insert(Table::ControlLog, &batch, &token).await
    }
}

fn batch(table: Table, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(table.arrow_schema(), columns)
        .map_err(|error| StoreError::WrongBatch { table: table.name(), detail: error.to_string() })
}

fn decision_columns(life: &str, rows: &[DecisionRow]) -> Result<Vec<ArrayRef>> {
    Ok(vec![
        words(rows.iter().map(|_| life)),
        numbers(rows.iter().map(|row| row.offset)),
        times(rows.iter().map(|row| row.log_time_ms)),
        ids(Table::ControlLog, rows.iter().map(|row| row.command_id))?,
        words(rows.iter().map(|row| row.actor_kind.as_str())),
        texts(rows.iter().map(|row| row.actor_id.as_str())),
        words(rows.iter().map(|row| row.actor_role.as_str())),
        words(rows.iter().map(|row| row.op.as_str())),
        ids(Table::ControlLog, rows.iter().map(|row| row.alert_id))?,
        words(rows.iter().map(|row| row.verdict.as_str())),
        words(rows.iter().map(|row| row.reason.as_str())),
        texts(rows.iter().map(|row| row.detail.as_str())),
        texts(rows.iter().map(|row| row.changes.as_str())),
        texts(rows.iter().map(|row| row.payload.as_str())),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.payload_hash))),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.chain))),
    ])
}

fn alert_columns(life: &str, rows: &[AlertRow]) -> Result<Vec<ArrayRef>> {
    Ok(vec![
        words(rows.iter().map(|_| life)),
        numbers(rows.iter().map(|row| row.offset)),
        times(rows.iter().map(|row| row.log_time_ms)),
        ids(Table::AlertInstances, rows.iter().map(|row| row.alert_id))?,
        texts(rows.iter().map(|row| row.steps.as_str())),
        words(rows.iter().map(|row| row.status.as_str())),
        words(rows.iter().map(|row| row.severity.as_str())),
        words(rows.iter().map(|row| row.worst_severity.as_str())),
        words(rows.iter().map(|row| row.rule.as_str())),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.rule_version))),
        words(rows.iter().map(|row| row.account_id.as_str())),
        texts(rows.iter().map(|row| row.conversation_id.as_str())),
        words(rows.iter().map(|row| row.metric_name.as_str())),
        times(rows.iter().map(|row| row.raised_ms)),
        floats(rows.iter().map(|row| row.value)),
        floats(rows.iter().map(|row| row.threshold)),
        texts(rows.iter().map(|row| row.explanation.as_str())),
        texts(rows.iter().map(|row| row.labels.as_str())),
        texts(rows.iter().map(|row| row.acknowledged_by.as_str())),
        times(rows.iter().map(|row| row.acknowledged_ms.unwrap_or_default())),
        texts(rows.iter().map(|row| row.owner.as_str())),
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.level))),
        texts(rows.iter().map(|row| row.resolved_by.as_str())),
        times(rows.iter().map(|row| row.resolved_ms.unwrap_or_default())),
        words(rows.iter().map(|row| row.resolved_reason.as_str())),
        floats(rows.iter().map(|row| row.resolved_value)),
        texts(rows.iter().map(|row| row.resolved_note.as_str())),
        numbers(rows.iter().map(|row| row.incident)),
        numbers(rows.iter().map(|row| row.version)),
    ])
}

fn words<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<DictionaryArray<Int32Type>>())
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values.map(|value| value.unwrap_or(f64::NAN))))
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn ids(table: Table, values: impl Iterator<Item = [u8; 16]>) -> Result<ArrayRef> {
    let ids = FixedSizeBinaryArray::try_from_iter(values)
        .map_err(|error| StoreError::WrongBatch { table: table.name(), detail: error.to_string() })?;
    Ok(Arc::new(ids))
}
