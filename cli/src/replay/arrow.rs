//! Arrow streams as files: checked whole before the first row is sent, then sent in pieces as any producer sends them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use kelly_schemas::decode::{ArrowCutter, ArrowMessage, ArrowPiece, Origin, Rendering};
use kelly_schemas::{Fault, Limits};

use super::counted;

/// Bytes of a file at most: it is in memory while it is read. Some eight million rows.
const LARGEST_FILE: u64 = 256 << 20;

/// Bad rows described one by one; of more only the number is shown.
const BAD_ROWS_SHOWN: usize = 10;

/// An Arrow stream to replay.
#[derive(Debug, Clone)]
pub struct ArrowFile {
    path: PathBuf,
}

/// Why a file is not taken at all: what is wrong with it, one line for each.
#[derive(Debug, thiserror::Error)]
#[error("{name} is refused whole, nothing of it was recorded:\n{}", .faults.join("\n"))]
struct Refused {
    name: String,
    faults: Vec<String>,
}

impl ArrowFile {
    /// The file at this path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Its name, for messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Its size, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        std::fs::metadata(&self.path).ok().map(|meta| meta.len())
    }

    /// Its pieces, one after the other.
    pub fn pieces(&self) -> anyhow::Result<ArrowCutter> {
        let reading = || format!("reading {}", self.name());
        let mut bytes = Vec::new();
        let file = File::open(&self.path).with_context(|| format!("opening {}", self.name()))?;
        let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).with_context(reading)?;
        if read as u64 > LARGEST_FILE {
            bail!(
                self.refused(vec![format!(
                    "it has more than {} MiB: write several files",
                    LARGEST_FILE >> 20
                )])
            );
        }
        ArrowCutter::new(bytes).map_err(|fault| self.refused(vec![described(&fault)]).into())
    }

    /// Checks all of it as the log's other side will, and says how many rows it has. One bad row refuses it. `go_on` is
    /// asked after each piece, with the bytes that were checked; when it says no, what was checked is all.
    pub fn check(
        &self,
        now_ms: i64,
        limits: &Limits,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> anyhow::Result<u64> {
        let mut pieces = self.pieces()?;
        let (mut rows, mut bad, mut faults, mut bytes) = (0, 0, Vec::new(), 0);
        while let Some(piece) = pieces
            .next_piece()
            .map_err(|fault| self.refused(vec![format!("after row {rows}: {}", described(&fault))]))?
        {
            let message = ArrowMessage::read(&piece.bytes, limits).map_err(|reject| {
                self.refused(vec![format!("{}: {}", place(&piece), described(&reject.fault))])
            })?;
            let origin = Origin { partition: 0, offset: 0, log_time_ms: now_ms, limits };
            for columns in message.batches() {
                columns.rows(&origin, &mut Rendering::none(), &mut |row, outcome| {
                    if let Err(reject) = outcome {
                        bad += 1;
                        if faults.len() < BAD_ROWS_SHOWN {
                            faults.push(format!("row {}: {}", rows + u64::from(row) + 1, reject.fault));
                        }
                    }
                });
            }
            rows += message.rows() as u64;
            bytes += piece.bytes.len() as u64;
            if !go_on(bytes) {
                return Ok(rows);
            }
        }
        if bad > faults.len() {
            faults.push(format!("… and {}", counted((bad - faults.len()) as u64, "more bad row")));
        }
        if faults.is_empty() { Ok(rows) } else { Err(self.refused(faults).into()) }
    }

    fn refused(&self, faults: Vec<String>) -> Refused {
        Refused { name: self.name(), faults }
    }
}

/// Where a piece is, for people: they count from 1.
pub fn place(piece: &ArrowPiece) -> String {
    let (first, last) = (piece.first_batch + 1, piece.first_batch + piece.batches.max(1));
    let rows = format!("rows {} to {}", piece.first_row + 1, piece.first_row.saturating_add(piece.rows));
    if first == last {
        format!("record batch {first} ({rows})")
    } else {
        format!("record batches {first} to {last} ({rows})")
    }
}

/// What is wrong, and how to fix what is a matter of the program that wrote the file.
fn described(fault: &Fault) -> String {
    let how_to_fix = match fault {
        Fault::TooManyRows { .. } | Fault::MessageTooLarge { .. } | Fault::TextsTooLarge { .. } => {
            "; write smaller record batches, e.g. write_table(table, max_chunksize=8000)"
        }
        _ => "",
    };
    format!("{fault}{how_to_fix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelly_schemas::encode::{ArrowEncoder, NewMetric};

    fn file(name: &str, values: &[f64]) -> (tempfile::TempDir, ArrowFile) {
        let mut encoder = ArrowEncoder::default();
        values.iter().for_each(|value| {
            encoder.push(&NewMetric { metric_name: "m", value: *value, ..NewMetric::default() })
        });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, encoder.finish().unwrap()).unwrap();
        let file = ArrowFile::new(&path);
        (directory, file)
    }

    #[test]
    fn a_bad_row_refuses_the_file_and_is_named() {
        let limits = Limits::default();
        let (_kept, good) = file("good.arrow", &[1.0, 2.0]);
        assert_eq!(good.check(0, &limits, &mut |_| true).unwrap(), 2);
        let mut values = vec![1.0; 20];
        values[3..15].fill(f64::NAN);
        let (_kept, bad) = file("bad.arrow", &values);
        let message = bad.check(0, &limits, &mut |_| true).unwrap_err().to_string();
        assert!(message.contains("refused whole") && message.contains("\nrow 4: `value`"), "{message}");
        assert!(message.ends_with("… and 2 more bad rows"), "{message}");
    }

    #[test]
    fn what_is_no_stream_is_refused_with_where_it_ends() {
        let (_kept, broken) = file("broken.arrow", &[1.0; 100]);
        let bytes = std::fs::read(&broken.path).unwrap();
        std::fs::write(&broken.path, &bytes[..bytes.len() - 20]).unwrap();
        let message = broken.check(0, &Limits::default(), &mut |_| true).unwrap_err().to_string();
        assert!(message.contains("after row 0") && message.contains("breaks off"), "{message}");
    }
}
