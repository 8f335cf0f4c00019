//! Where replayed rows go: to a running Kelly over HTTP, or to the log itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use kelly_schemas::Stream;
use kelly_schemas::decode::ARROW_STREAM;
use kelly_stream::{Log, LogError, NewRecord};
use tokio_util::sync::CancellationToken;

use crate::client::{self, Client, Failure, Recorded, RowKind};
use crate::input::{BadRow, Place};

/// A row on its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What it is.
    pub kind: RowKind,
    /// Its JSON.
    pub json: Vec<u8>,
    /// Its key on the log.
    pub key: String,
    /// Index of its file.
    pub file: usize,
    /// Its place there.
    pub place: Place,
}

/// A row the other side refused.
#[derive(Debug)]
pub struct Refused {
    /// Index of its file.
    pub file: usize,
    /// What is wrong with it.
    pub bad: BadRow,
}

/// Takes batches of rows.
pub enum Target {
    /// A running Kelly.
    Server(Client),
    /// The log.
    Log(Arc<dyn Log>),
}

/// What a body of rows is.
const JSON: &str = "application/json";

/// Tries of one batch while the other side is busy; with the pauses it asks for, some minutes.
const TRIES: u32 = 60;

/// Pause before a log that is full or away is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(1);

impl Target {
    /// Sends rows of one kind, in order. Returns those that were refused; the others are durable.
    /// `None` when stopped before they were.
    pub async fn send(
        &self,
        mut rows: Vec<Outgoing>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Vec<Refused>>> {
        let mut refused = Vec::new();
        for _ in 0..TRIES {
            if rows.is_empty() {
                return Ok(Some(refused));
            }
            match self.attempt(&rows).await? {
                Attempt::Done => return Ok(Some(refused)),
                Attempt::Busy(pause, message) => {
                    if !waited(pause, &message, stop).await {
                        return Ok(None);
                    }
                }
                Attempt::Bad(bad) => {
                    let before = rows.len();
                    rows = without(rows, &bad, &mut refused);
                    anyhow::ensure!(rows.len() < before, "the server refused rows without naming them");
                }
            }
        }
        anyhow::bail!("gave up after {TRIES} tries: the other side stays busy")
    }

    /// Sends metrics as one Arrow stream. True when they are durable, false when stopped before they were. They
    /// were checked before, so a row that is bad now ends it.
    pub async fn send_arrow(&self, message: Bytes, stop: &CancellationToken) -> anyhow::Result<bool> {
        for _ in 0..TRIES {
            match self.attempt_arrow(&message).await? {
                Attempt::Done => return Ok(true),
                Attempt::Busy(pause, message) => {
                    if !waited(pause, &message, stop).await {
                        return Ok(false);
                    }
                }
                Attempt::Bad(bad) => {
                    let reasons: Vec<String> = bad
                        .iter()
                        .map(|row| format!("row {} of them: {}", row.row + 1, row.reason))
                        .collect();
                    anyhow::bail!("the server refused these rows:\n{}", reasons.join("\n"));
                }
            }
        }
        anyhow::bail!("gave up after {TRIES} tries: the other side stays busy")
    }

    async fn attempt_arrow(&self, message: &Bytes) -> anyhow::Result<Attempt> {
        match self {
            Self::Server(client) => {
                answered(client.send_as(RowKind::Metrics, ARROW_STREAM, message.to_vec()).await)
            }
            Self::Log(log) => {
                let record = NewRecord {
                    topic: Stream::Metrics.topic().into(),
                    partition: None,
                    key: None,
                    payload: message.clone(),
                    content_type: Some(ARROW_STREAM.into()),
                };
                appended(log.append(vec![record]).await.map(drop))
            }
        }
    }

    async fn attempt(&self, rows: &[Outgoing]) -> anyhow::Result<Attempt> {
        match self {
            Self::Server(client) => answered(client.send_as(rows[0].kind, JSON, array(rows)).await),
            Self::Log(log) => appended(log.append(records(rows)).await.map(drop)),
        }
    }
}

/// What a server's answer means for the next attempt.
fn answered(answer: Result<Recorded, Failure>) -> anyhow::Result<Attempt> {
    match answer {
        Ok(_) => Ok(Attempt::Done),
        Err(Failure::Rows(bad)) => Ok(Attempt::Bad(bad)),
        Err(Failure::Busy { pause, message }) => Ok(Attempt::Busy(pause, message)),
        Err(Failure::Refused(error) | Failure::Other(error)) => Err(error),
    }
}

/// What the log's answer means for it.
fn appended(answer: Result<(), LogError>) -> anyhow::Result<Attempt> {
    match answer {
        Ok(()) => Ok(Attempt::Done),
        Err(error @ (LogError::Full { .. } | LogError::Unavailable { .. })) => {
            Ok(Attempt::Busy(LOG_PAUSE, error.to_string()))
        }
        Err(error) => Err(error).context("writing to the log"),
    }
}

/// Waits as long as the other side asked for; false when stopped.
async fn waited(pause: Duration, message: &str, stop: &CancellationToken) -> bool {
    tracing::info!(pause_s = pause.as_secs_f64(), "the other side is busy: {message}");
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

enum Attempt {
    Done,
    Busy(Duration, String),
    Bad(Vec<client::BadRow>),
}

fn without(rows: Vec<Outgoing>, bad: &[client::BadRow], refused: &mut Vec<Refused>) -> Vec<Outgoing> {
    let mut kept = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        match bad.iter().find(|bad| bad.row == index as u64) {
            Some(bad) => refused.push(Refused {
                file: row.file,
                bad: BadRow { place: row.place, code: bad.code.clone().into(), what: bad.reason.clone() },
            }),
            None => kept.push(row),
        }
    }
    kept
}

/// An array and not a row a line: rows keep their own bytes, and line breaks may be among them.
fn array(rows: &[Outgoing]) -> Vec<u8> {
    let mut body = Vec::with_capacity(rows.iter().map(|row| row.json.len() + 1).sum::<usize>() + 1);
    for row in rows {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&row.json);
    }
    body.push(b']');
    body
}

/// One row a message, as ordinary producers write.
fn records(rows: &[Outgoing]) -> Vec<NewRecord> {
    rows.iter()
        .map(|row| NewRecord {
            topic: row.kind.stream().topic().into(),
            partition: None,
            key: Some(Bytes::copy_from_slice(row.key.as_bytes())),
            payload: Bytes::copy_from_slice(&row.json),
            content_type: None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use kelly_schemas::Limits;
    use kelly_schemas::decode::{Form, split_rows};

    use super::*;

    fn row(line: u64) -> Outgoing {
        Outgoing {
            kind: RowKind::Metrics,
            json: format!("{{\"value\":{line}}}").into_bytes(),
            key: "k".into(),
            file: 0,
            place: Place::Line(line),
        }
    }

    fn bad(row: u64) -> client::BadRow {
        client::BadRow { row, code: "too_old".into(), reason: "too old indeed".into() }
    }

    #[test]
    fn refused_rows_are_taken_out_with_their_lines() {
        let mut refused = Vec::new();
        let kept = without(vec![row(10), row(11), row(12)], &[bad(1), bad(9)], &mut refused);
        assert_eq!(kept.iter().map(|row| row.place).collect::<Vec<_>>(), [10, 12].map(Place::Line));
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].bad.to_string(), "line 11: too old indeed");
        assert_eq!(refused[0].bad.code, "too_old");
    }

    #[test]
    fn the_server_finds_the_rows_that_were_put_into_a_body() {
        let pretty = Outgoing { json: b"{\n  \"value\": 1,\r\n\"metadata\": {\n}}".to_vec(), ..row(1) };
        let rows = [pretty, row(2), row(3)];
        let body = array(&rows);
        let found = split_rows(&body, Form::Json, &Limits::default()).unwrap();
        let found: Vec<&[u8]> = found.iter().map(|row| row.bytes).collect();
        assert_eq!(found, rows.iter().map(|row| row.json.as_slice()).collect::<Vec<_>>());
    }
}
