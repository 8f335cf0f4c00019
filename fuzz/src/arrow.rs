//! Arrow messages: hostile until shown otherwise, and held to what JSON rows are held to.

use kelly_schemas::Limits;
use kelly_schemas::decode::{ArrowCutter, ArrowMessage, MAX_WRITTEN_OUT_BYTES, ROW_BYTES, Rendering};

use crate::decode::{Metrics, check_outcome, check_reject, origin, tight_limits};

/// An IPC stream.
pub fn arrow(input: &[u8]) {
    let limits = tight_limits();
    let message = match ArrowMessage::read(input, &limits) {
        Ok(message) => message,
        Err(reject) => {
            assert_eq!(
                ArrowMessage::read(input, &limits).err(),
                Some(reject.clone()),
                "a replay refuses it too"
            );
            // What is cut of it is as good as nothing, and no more than that.
            let _ = cut(input, &limits);
            return check_reject(&reject);
        }
    };
    let outcomes = outcomes(&message, &limits);
    assert_eq!(outcomes.len(), message.rows());
    assert!(message.rows() <= limits.max_arrow_rows);
    assert!(message.written_out_bytes() <= MAX_WRITTEN_OUT_BYTES + ROW_BYTES * message.rows());
    let again = ArrowMessage::read(input, &limits).expect("it was read before");
    assert_eq!(outcomes, self::outcomes(&again, &limits), "a replay builds the same rows");
    assert_eq!(cut(input, &limits), Some(outcomes), "the pieces together are the whole");
}

/// What became of each row of the pieces; `None` where they are not good.
fn cut(input: &[u8], limits: &Limits) -> Option<Vec<Result<String, String>>> {
    /// What ends a piece, which the whole may lack.
    const END_BYTES: usize = 8;
    let limits = &Limits { max_arrow_message_bytes: limits.max_arrow_message_bytes + END_BYTES, ..*limits };
    let mut cutter = ArrowCutter::new(input.to_vec()).ok()?;
    let mut outcomes = Vec::new();
    while let Some(piece) = cutter.next_piece().ok()? {
        let message = ArrowMessage::read(&piece.bytes, limits).ok()?;
        assert_eq!((message.rows(), outcomes.len()), (piece.rows, piece.first_row));
        outcomes.extend(self::outcomes(&message, limits));
    }
    Some(outcomes)
}

/// What became of each row, comparable and without borrowing.
fn outcomes(message: &ArrowMessage, limits: &Limits) -> Vec<Result<String, String>> {
    let origin = origin(limits);
    let mut outcomes = Vec::new();
    let mut rendering = Rendering::of_a_message();
    for batch in message.batches() {
        batch.rows(&origin, &mut rendering, &mut |row, outcome| {
            assert_eq!(row as usize, outcomes.len(), "rows come in order, each once");
            let outcome = outcome.map(|row| {
                let metric = row.to_metric();
                assert_eq!(metric.partition_key(), row.partition_key());
                metric
            });
            // The row as JSON decodes to the very same.
            check_outcome::<Metrics>(&outcome, limits);
            let shown = outcome.map(|metric| format!("{metric:?}"));
            outcomes.push(shown.map_err(|reject| reject.fault.to_string()));
        });
    }
    outcomes
}
