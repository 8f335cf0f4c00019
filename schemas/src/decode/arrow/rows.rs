//! The walk over the rows of a record batch: what JSON rows are held to, looked at once a distinct text.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::columns::{TextColumn, TimeColumn, Times, ValueColumn};
use crate::catalogue::Catalogue;
use crate::check::{self, GivenTime};
use crate::decode::metadata::Aside;
use crate::decode::row::invalid_json;
use crate::decode::{Origin, timestamp};
use crate::fault::{Fault, Reject};
use crate::{Metric, limits};

/// Bytes of one text that a refused row is shown with.
const SHOWN_TEXT_BYTES: usize = 1_024;
/// Bytes of metadata that a refused row is shown with: as much as it may have.
const SHOWN_METADATA_BYTES: usize = 8 << 10;
/// Bytes of all refused rows of one message that are shown; of the rest only the reason and the number are given. The
/// log has them.
const SHOWN_MESSAGE_BYTES: usize = 256 << 10;

/// How much of the refused rows of a message is still to be rendered as JSON.
#[derive(Debug)]
pub struct Rendering {
    bytes_left: usize,
}

impl Rendering {
    /// For one message of the log, whose refused rows become dead letters.
    #[must_use]
    pub fn of_a_message() -> Self {
        Self { bytes_left: SHOWN_MESSAGE_BYTES }
    }

    /// For whoever wants to know the faults alone.
    #[must_use]
    pub fn none() -> Self {
        Self { bytes_left: 0 }
    }

    /// The row, or nothing from the first on that has no room.
    fn row(&mut self, columns: &MetricColumns<'_>, row: usize) -> Vec<u8> {
        if self.bytes_left == 0 {
            return Vec::new();
        }
        let shown = columns.shown(row);
        let left = self.bytes_left.checked_sub(shown.len());
        self.bytes_left = left.unwrap_or_default();
        if left.is_some() { shown } else { Vec::new() }
    }
}

/// One record batch of a message, its columns ready to be walked over.
#[derive(Debug)]
pub struct MetricColumns<'b> {
    first_row: u32,
    rows: u32,
    metric_name: TextColumn<'b>,
    metric_type: TextColumn<'b>,
    account_id: TextColumn<'b>,
    conversation_id: TextColumn<'b>,
    user_id: TextColumn<'b>,
    metadata: TextColumn<'b>,
    value: ValueColumn<'b>,
    timestamp: TimeColumn<'b>,
}

/// A metric of an Arrow message: [`Metric`](crate::Metric) by another way.
#[derive(Debug, Clone, Copy)]
pub struct ArrowMetric<'b> {
    /// As in [`Metric`](crate::Metric).
    pub metric_name: ArrowText<'b>,
    /// `None` where the catalogue's kind of the name counts: see [`metric_type_or_default`](Self::metric_type_or_default).
    pub metric_type: Option<ArrowText<'b>>,
    /// As in [`Metric`](crate::Metric).
    pub value: f64,
    /// As in [`Metric`](crate::Metric).
    pub timestamp_ms: i64,
    /// Whether the producer said when; otherwise it is the log's time.
    pub is_time_given: bool,
    /// The account, where there is one.
    pub account_id: Option<ArrowText<'b>>,
    /// The conversation, where there is one.
    pub conversation_id: Option<ArrowText<'b>>,
    /// The user, where there is one.
    pub user_id: Option<ArrowText<'b>>,
    /// As in [`Metric`](crate::Metric).
    pub metadata: &'b str,
}

impl<'b> ArrowMetric<'b> {
    /// The type the producer gave, or the catalogue's.
    #[must_use]
    pub fn metric_type_or_default(&self) -> &'b str {
        match self.metric_type {
            Some(text) => text.as_str(),
            None => Catalogue::builtin().kind_of(self.metric_name.as_str()).as_str(),
        }
    }

    /// The same row as JSON would have given it.
    #[must_use]
    pub fn to_metric(&self) -> Metric<'b> {
        let borrowed = |text: Option<ArrowText<'b>>| Cow::Borrowed(text.map_or("", |text| text.as_str()));
        Metric {
            metric_name: Cow::Borrowed(self.metric_name.as_str()),
            metric_type: Cow::Borrowed(self.metric_type_or_default()),
            value: self.value,
            timestamp_ms: self.timestamp_ms,
            account_id: borrowed(self.account_id),
            conversation_id: borrowed(self.conversation_id),
            user_id: borrowed(self.user_id),
            metadata: Cow::Borrowed(self.metadata),
        }
    }

    /// The key on the log, as [`Metric::partition_key`](crate::Metric::partition_key).
    #[must_use]
    pub fn partition_key(&self) -> &'b str {
        self.conversation_id.or(self.account_id).unwrap_or(self.metric_name).as_str()
    }
}

/// A text of a row: its place is looked up at once, its letters when they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct ArrowText<'b> {
    column: &'b TextColumn<'b>,
    place: u32,
}

impl<'b> ArrowText<'b> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &'b str {
        self.column.text(self.place)
    }

    /// Its number among the distinct texts of its column of this record batch, where the column has such numbers: equal
    /// numbers are equal texts.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        matches!(self.column, TextColumn::Keyed { .. }).then_some(self.place)
    }
}

/// Numbers below which [`ArrowText::number`] lies, by column; 0 where too few rows share texts for a table of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DistinctTexts {
    /// Of `metric_name`.
    pub metric_names: usize,
    /// Of `metric_type`.
    pub metric_types: usize,
    /// Of `account_id`.
    pub accounts: usize,
    /// Of `conversation_id`.
    pub conversations: usize,
}

impl<'b> MetricColumns<'b> {
    pub(super) fn new(batch: &'b arrow_array::RecordBatch, first_row: u32) -> Self {
        let text = |name| TextColumn::new(batch, name);
        Self {
            first_row,
            rows: batch.num_rows() as u32,
            metric_name: text("metric_name"),
            metric_type: text("metric_type"),
            account_id: text("account_id"),
            conversation_id: text("conversation_id"),
            user_id: text("user_id"),
            metadata: text("metadata"),
            value: ValueColumn::new(batch),
            timestamp: TimeColumn::new(batch),
        }
    }

    /// How many numbers its texts have.
    #[must_use]
    pub fn distinct(&self) -> DistinctTexts {
        let distinct = |column: &TextColumn<'_>| column.distinct().unwrap_or_default();
        DistinctTexts {
            metric_names: distinct(&self.metric_name),
            metric_types: distinct(&self.metric_type),
            accounts: distinct(&self.account_id),
            conversations: distinct(&self.conversation_id),
        }
    }

    /// Checks each row and hands it to the sink with its number in the message, in order.
    pub fn rows(
        &'b self,
        origin: &Origin<'_>,
        rendering: &mut Rendering,
        sink: &mut impl FnMut(u32, Result<ArrowMetric<'b>, Reject<'static>>),
    ) {
        let mut checks = Checks::new(self);
        for row in 0..self.rows {
            let outcome = checks
                .row(self, row as usize, origin)
                .map_err(|fault| Reject::rendered(fault, rendering.row(self, row as usize)));
            sink(self.first_row + row, outcome);
        }
    }

    /// A row as JSON, for people and for whoever corrects it.
    fn shown(&self, row: usize) -> Vec<u8> {
        let mut object = serde_json::Map::new();
        let texts = [
            ("metric_name", &self.metric_name),
            ("metric_type", &self.metric_type),
            ("account_id", &self.account_id),
            ("conversation_id", &self.conversation_id),
            ("user_id", &self.user_id),
        ];
        for (name, column) in texts {
            if let Some(place) = column.place(row) {
                object.insert(name.to_owned(), start_of(column.text(place), SHOWN_TEXT_BYTES).into());
            }
        }
        if let Some(value) = self.value.get(row) {
            let number = serde_json::Number::from_f64(value).map(serde_json::Value::from);
            object.insert("value".to_owned(), number.unwrap_or_else(|| value.to_string().into()));
        }
        let time = match &self.timestamp.times {
            Times::Numbers { times, nulls, .. } => {
                let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
                times.get(row).filter(|_| !is_null).map(|time| (*time).into())
            }
            Times::Texts(column) => {
                column.place(row).map(|place| start_of(column.text(place), SHOWN_TEXT_BYTES).into())
            }
        };
        if let Some(time) = time {
            object.insert(self.timestamp.name.to_owned(), time);
        }
        if let Some(place) = self.metadata.place(row) {
            object.insert("metadata".to_owned(), shown_metadata(self.metadata.text(place)));
        }
        serde_json::Value::Object(object).to_string().into_bytes()
    }
}

/// Metadata as a dead letter may have it: an object, in which content is found by its name. Of anything else only the
/// size is given: in a text within a text, names are written in too many ways to be sure.
fn shown_metadata(text: &str) -> serde_json::Value {
    if text.len() <= SHOWN_METADATA_BYTES
        && let Ok(object) = serde_json::from_str::<serde_json::Map<_, _>>(text)
    {
        return object.into();
    }
    format!("{} bytes", text.len()).into()
}

/// What is known of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unseen,
    /// Allowed, and says something.
    Good,
    /// Allowed, and says nothing.
    Empty,
    Bad,
}

/// The verdicts on the texts of a column. Of a plain column it remembers none: its texts are each its row's own.
struct TextChecks {
    field: &'static str,
    check: fn(&'static str, &str) -> Result<(), Fault>,
    verdicts: Vec<Verdict>,
    faults: HashMap<u32, Fault>,
}

impl TextChecks {
    fn new(
        column: &TextColumn<'_>,
        field: &'static str,
        check: fn(&'static str, &str) -> Result<(), Fault>,
    ) -> Self {
        let verdicts = vec![Verdict::Unseen; column.distinct().unwrap_or_default()];
        Self { field, check, verdicts, faults: HashMap::new() }
    }

    /// The text of a row if it is allowed; `None` when there is none.
    fn text<'b>(&mut self, column: &'b TextColumn<'b>, row: usize) -> Result<Option<ArrowText<'b>>, Fault> {
        let Some(place) = column.place(row) else { return Ok(None) };
        let text = ArrowText { column, place };
        match self.verdicts.get(place as usize).copied().unwrap_or(Verdict::Unseen) {
            Verdict::Good => Ok(Some(text)),
            Verdict::Empty => Ok(None),
            Verdict::Bad => {
                Err(self.faults.get(&place).cloned().unwrap_or(Fault::EmptyField { field: self.field }))
            }
            Verdict::Unseen => {
                let letters = text.as_str();
                let outcome = (self.check)(self.field, letters);
                if text.number().is_some() {
                    self.note(place, letters, &outcome);
                }
                outcome.map(|()| (!letters.is_empty()).then_some(text))
            }
        }
    }

    fn note(&mut self, place: u32, letters: &str, outcome: &Result<(), Fault>) {
        let verdict = match outcome {
            Ok(()) if letters.is_empty() => Verdict::Empty,
            Ok(()) => Verdict::Good,
            Err(fault) => {
                self.faults.insert(place, fault.clone());
                Verdict::Bad
            }
        };
        if let Some(noted) = self.verdicts.get_mut(place as usize) {
            *noted = verdict;
        }
    }
}

/// The same for metadata, whose text is kept in a form of its own.
struct MetadataChecks<'b> {
    known: Vec<Option<Result<&'b str, Fault>>>,
}

impl<'b> MetadataChecks<'b> {
    fn text(&mut self, column: &'b TextColumn<'b>, row: usize, max_bytes: usize) -> Result<&'b str, Fault> {
        let Some(place) = column.place(row) else { return Ok("") };
        match self.known.get_mut(place as usize) {
            Some(known) => known.get_or_insert_with(|| metadata(column.text(place), max_bytes)).clone(),
            None => metadata(column.text(place), max_bytes),
        }
    }
}

/// The text of the metadata column from what a producer wrote, as of a JSON row.
fn metadata(text: &str, max_bytes: usize) -> Result<&str, Fault> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok("");
    }
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| invalid_json(&error, Some("metadata"), text))?;
    let aside = Aside { metadata: Some(raw), extras: Vec::new() };
    match aside.into_text(max_bytes)? {
        Cow::Borrowed(text) => Ok(text),
        // Only fields beside the metadata make a new text of it, and there are none.
        Cow::Owned(_) => Ok(text),
    }
}

struct Checks<'b> {
    account_id: TextChecks,
    conversation_id: TextChecks,
    user_id: TextChecks,
    metric_name: TextChecks,
    metric_type: TextChecks,
    metadata: MetadataChecks<'b>,
}

impl<'b> Checks<'b> {
    fn new(columns: &MetricColumns<'_>) -> Self {
        let distinct = columns.metadata.distinct().unwrap_or_default();
        Self {
            account_id: TextChecks::new(&columns.account_id, "account_id", |field, text| {
                check::label(field, text, limits::ACCOUNT_ID_CHARACTERS)
            }),
            conversation_id: TextChecks::new(&columns.conversation_id, "conversation_id", |field, text| {
                check::label(field, text, limits::CONVERSATION_ID_CHARACTERS)
            }),
            user_id: TextChecks::new(&columns.user_id, "user_id", |field, text| {
                check::label(field, text, limits::USER_ID_CHARACTERS)
            }),
            metric_name: TextChecks::new(&columns.metric_name, "metric_name", |field, text| {
                check::name(field, text, limits::METRIC_NAME_CHARACTERS)
            }),
            metric_type: TextChecks::new(&columns.metric_type, "metric_type", |field, text| {
                check::optional_name(field, text, limits::METRIC_TYPE_CHARACTERS)
            }),
            metadata: MetadataChecks { known: vec![None; distinct] },
        }
    }

    /// A row, or its fault: content before anything else, as in JSON.
    fn row(
        &mut self,
        columns: &'b MetricColumns<'b>,
        row: usize,
        origin: &Origin<'_>,
    ) -> Result<ArrowMetric<'b>, Fault> {
        let metadata = self.metadata.text(&columns.metadata, row, origin.limits.max_metadata_bytes);
        if let Err(fault @ Fault::ConversationContent { .. }) = metadata {
            return Err(fault);
        }
        let account_id = self.account_id.text(&columns.account_id, row)?;
        let conversation_id = self.conversation_id.text(&columns.conversation_id, row)?;
        let user_id = self.user_id.text(&columns.user_id, row)?;
        let metric_name = self.metric_name.text(&columns.metric_name, row)?;
        let metric_type = self.metric_type.text(&columns.metric_type, row)?;
        let value = columns.value.get(row).map(check::value).transpose()?;
        let time = given_time(&columns.timestamp, row)?;
        let metadata = metadata?;
        let metric_name = metric_name.ok_or(Fault::MissingField { field: "metric_name" })?;
        let value = value.ok_or(Fault::MissingField { field: "value" })?;
        let timestamp_ms = match time {
            Some(given) => check::time(given, origin)?,
            None => origin.log_time_ms,
        };
        Ok(ArrowMetric {
            metric_name,
            metric_type,
            value,
            timestamp_ms,
            is_time_given: time.is_some(),
            account_id,
            conversation_id,
            user_id,
            metadata,
        })
    }
}

fn given_time(column: &TimeColumn<'_>, row: usize) -> Result<Option<GivenTime>, Fault> {
    let field = column.name;
    match &column.times {
        Times::Numbers { times, nulls, unit_is_stated } => {
            let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
            let time = times.get(row).copied().filter(|_| !is_null);
            Ok(time.map(|epoch_ms| GivenTime { field, epoch_ms, numeric: !unit_is_stated }))
        }
        Times::Texts(texts) => {
            let Some(place) = texts.place(row) else { return Ok(None) };
            let epoch_ms = timestamp::parse_rfc3339(texts.text(place))
                .map_err(|reason| Fault::InvalidTimestamp { field, reason })?;
            Ok(Some(GivenTime { field, epoch_ms, numeric: false }))
        }
    }
}

fn start_of(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}
