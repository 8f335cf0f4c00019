//! Arrow messages: hostile until shown otherwise, and held to what JSON rows are held to.

use kelly_schemas::Limits;
use kelly_schemas::decode::{ArrowMessage, MAX_WRITTEN_OUT_BYTES, ROW_BYTES, Rendering};

use crate::decode::{Kind, Metrics, check_outcome, check_reject, origin, tight_limits};

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
            return check_reject(&reject);
        }
    };
    let outcomes = outcomes(&message, &limits);
    assert_eq!(outcomes.len(), message.rows());
    assert!(message.rows() <= limits.max_arrow_rows);
    assert!(message.written_out_bytes() <= MAX_WRITTEN_OUT_BYTES + ROW_BYTES * message.rows());
    let again = ArrowMessage::read(input, &limits).expect("it was read before");
    assert_eq!(outcomes, self::outcomes(&again, &limits), "a replay builds the same rows");
}

/// What became of each row, comparable and without borrowing.
fn outcomes(message: &ArrowMessage, limits: &Limits) -> Vec<Result<String, String>> {
    let origin = origin(Metrics::TOPIC, limits);
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
            let told = outcome.map(|metric| format!("{metric:?}"));
            outcomes.push(told.map_err(|reject| reject.fault.to_string()));
        });
    }
    outcomes
}
