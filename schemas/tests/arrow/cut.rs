//! Streams longer than a message: the pieces together are the rows of the whole, and each can be read by itself.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, RecordBatch};
use kelly_schemas::Limits;
use kelly_schemas::decode::{ArrowCutter, ArrowMessage, ArrowPiece};
use proptest::prelude::*;

use crate::messages::{batch, good, stream};

/// Rows of one name, whose values go on from `first`.
fn rows(name: &'static str, first: usize, count: usize) -> RecordBatch {
    let names: DictionaryArray<Int32Type> = (0..count).map(|_| Some(name)).collect();
    let values = Float64Array::from_iter_values((first..first + count).map(|number| number as f64));
    batch(vec![("metric_name", Arc::new(names) as ArrayRef), ("value", Arc::new(values))])
}

fn pieces(stream: Vec<u8>) -> Vec<ArrowPiece> {
    let mut cutter = ArrowCutter::new(stream).expect("begins with a schema");
    std::iter::from_fn(|| cutter.next_piece().expect("is a stream")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Names change from batch to batch, and the dictionary with them.
    #[test]
    fn the_pieces_together_are_the_whole(
        sizes in prop::collection::vec((0_usize..3, prop_oneof![0_usize..5, 4_000_usize..9_000]), 1..12),
    ) {
        let names = ["a", "bb", "ccc"];
        let mut batches = Vec::new();
        let mut total = 0;
        for (name, count) in sizes {
            batches.push(rows(names[name], total, count));
            total += count;
        }
        let expected: Vec<String> = batches
            .iter()
            .flat_map(|batch| good(&stream(std::slice::from_ref(batch))))
            .map(|row| format!("{} {}", row.metric_name, row.value))
            .collect();
        let pieces = pieces(stream(&batches));
        let mut shown = Vec::new();
        for piece in &pieces {
            prop_assert_eq!((piece.first_row, piece.batches > 0), (shown.len(), true));
            prop_assert!(piece.rows <= 8_192 || piece.batches == 1, "{} rows", piece.rows);
            let rows = good(&piece.bytes);
            prop_assert_eq!(rows.len(), piece.rows);
            shown.extend(rows.iter().map(|row| format!("{} {}", row.metric_name, row.value)));
        }
        prop_assert_eq!(shown, expected);
        prop_assert_eq!(pieces.iter().map(|piece| piece.batches).sum::<usize>(), batches.len());
    }
}

#[test]
fn many_small_batches_are_no_more_than_a_message_may_have() {
    let batches: Vec<RecordBatch> = (0..600).map(|number| rows("a", number, 1)).collect();
    let pieces = pieces(stream(&batches));
    assert_eq!(
        pieces.iter().map(|piece| (piece.first_batch, piece.rows)).collect::<Vec<_>>(),
        [(0, 256), (256, 256), (512, 88)]
    );
    pieces.iter().for_each(|piece| drop(good(&piece.bytes)));
}

#[test]
fn a_stream_without_rows_is_one_piece_so_that_its_schema_is_read() {
    let pieces = pieces(stream(&[rows("a", 0, 1).slice(0, 0)]));
    assert_eq!((pieces.len(), pieces[0].rows), (1, 0));
    let unknown = batch(vec![("color", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]);
    let mut cutter = ArrowCutter::new(stream(&[unknown.slice(0, 0)])).expect("begins with a schema");
    let piece = cutter.next_piece().expect("is a stream").expect("a piece");
    assert!(ArrowMessage::read(&piece.bytes, &Limits::default()).is_err());
}

#[test]
fn what_is_no_stream_is_reported_as_what_it_is() {
    for (bytes, expected) in [
        (&b"ARROW1\0\0"[..], "it is an Arrow file"),
        (b"[{}]", "it seems to be JSON"),
        (b"", "it has no schema"),
        (&[0xff; 64], "it breaks off"),
    ] {
        let fault = ArrowCutter::new(bytes.to_vec()).expect_err("is refused");
        assert_eq!(fault.code(), "invalid_arrow");
        assert!(fault.to_string().contains(expected), "{fault}");
    }
    let whole = stream(&[rows("a", 0, 3), rows("a", 3, 3)]);
    let mut cutter = ArrowCutter::new(whole[..whole.len() - 30].to_vec()).expect("begins with a schema");
    let fault = cutter.next_piece().expect_err("is refused");
    assert!(fault.to_string().contains("breaks off"), "{fault}");
}
