//! Rows at random: Arrow and JSON agree on each.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, StringArray};
use kelly_schemas::{Limits, Metric, decode};
use proptest::prelude::*;
use serde_json::json;

use crate::messages::{LOG_TIME_MS, TIME_MS, batch, origin, owned, read, stream};

#[derive(Debug, Clone)]
struct AnyRow {
    name: Option<String>,
    kind: Option<String>,
    value: Option<f64>,
    time: Option<i64>,
    about: [Option<String>; 3],
    metadata: Option<&'static str>,
}

fn any_row() -> impl Strategy<Value = AnyRow> {
    let text = || {
        prop::option::weighted(0.8, prop_oneof![8 => "[a-c]{0,2}", 1 => "\\PC{0,3}", 1 => "[a-b \n]{98,102}"])
    };
    let metadata = prop::option::of(prop::sample::select(vec![
        "",
        "{}",
        " {\"a\": [1, {\"b\": null}]} ",
        "{\"text\":\"hi\"}",
        "{\"a\":1,\"a\":2}",
        "null",
        "[1]",
        "{\"a\":1e999}",
        "{\"a\":\"\\ud800\"}",
    ]));
    let time = prop::option::of(prop_oneof![
        4 => LOG_TIME_MS - 1_000_000_000..LOG_TIME_MS,
        1 => any::<i64>(),
        1 => Just(TIME_MS / 1000),
    ]);
    let value = prop::option::weighted(0.9, prop_oneof![4 => -1e3..1e3, 1 => -1e300..1e300]);
    (text(), text(), value, time, [text(), text(), text()], metadata).prop_map(
        |(name, kind, value, time, about, metadata)| AnyRow { name, kind, value, time, about, metadata },
    )
}

/// The rows as JSON gives them. Metadata that is no JSON cannot stand in a JSON message; none of ours is.
fn by_json(rows: &[AnyRow]) -> Vec<Result<Metric<'static>, String>> {
    let objects: Vec<String> = rows
        .iter()
        .map(|row| {
            let metadata = row.metadata.filter(|text| !text.is_empty()).unwrap_or("null");
            let object = json!({
                "metric_name": row.name, "metric_type": row.kind, "value": row.value, "timestamp": row.time,
                "account_id": row.about[0], "conversation_id": row.about[1], "user_id": row.about[2],
            });
            let head = object.to_string();
            // In the order in which the columns are looked at: a JSON row tells its first fault.
            format!("{},\"metadata\":{metadata}}}", head.strip_suffix('}').expect("an object"))
        })
        .collect();
    let payload = format!("[{}]", objects.join(","));
    let limits = Limits::default();
    let mut decoded = Vec::new();
    decode::metrics(payload.as_bytes(), &origin(&limits), &mut |_, row| {
        decoded.push(row.map(|row| owned(&row)).map_err(|reject| reject.fault.code().to_owned()));
    });
    decoded
}

fn as_arrow(rows: &[AnyRow], keyed: bool) -> Vec<u8> {
    let column = |text: &dyn Fn(&AnyRow) -> Option<String>| -> ArrayRef {
        let texts: Vec<Option<String>> = rows.iter().map(text).collect();
        let texts = texts.iter().map(Option::as_deref);
        if keyed {
            Arc::new(texts.collect::<DictionaryArray<Int32Type>>())
        } else {
            Arc::new(texts.collect::<StringArray>())
        }
    };
    stream(&[batch(vec![
        ("metric_name", column(&|row| row.name.clone())),
        ("metric_type", column(&|row| row.kind.clone())),
        ("value", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.value)))),
        ("timestamp", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.time)))),
        ("account_id", column(&|row| row.about[0].clone())),
        ("conversation_id", column(&|row| row.about[1].clone())),
        ("user_id", column(&|row| row.about[2].clone())),
        ("metadata", column(&|row| row.metadata.map(str::to_owned))),
    ])])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn arrow_and_json_agree_on_every_row(rows in prop::collection::vec(any_row(), 0..40), keyed: bool) {
        let arrow = read(&as_arrow(&rows, keyed)).expect("can be read");
        let json = by_json(&rows);
        prop_assert_eq!(arrow.len(), json.len());
        for ((arrow, json), row) in arrow.into_iter().zip(json).zip(&rows) {
            match (arrow, json) {
                (Ok(arrow), Ok(json)) => prop_assert_eq!(arrow, json),
                // With several faults in a row either may be reported.
                (Err(_), Err(_)) => {}
                (arrow, json) => prop_assert!(false, "{:?}: {:?} but {:?}", row, arrow, json),
            }
        }
    }
}
