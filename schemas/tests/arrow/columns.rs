//! Every type a column may have gives the same row.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, Float32Array, Float64Array, Int64Array, LargeStringArray, NullArray,
    StringArray, StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
};
use kelly_schemas::encode::{ArrowEncoder, NewMetric};

use crate::messages::{LOG_TIME_MS, TIME_MS, batch, good, read, stream, texts, with};

/// Makes a column of texts in one of Arrow's forms.
type Form = fn(&[Option<&'static str>]) -> ArrayRef;

#[test]
fn every_form_of_text_is_the_same_row() {
    let forms: [Form; 6] = [
        |texts| Arc::new(StringArray::from(texts.to_vec())),
        |texts| Arc::new(LargeStringArray::from(texts.to_vec())),
        |texts| Arc::new(StringViewArray::from(texts.to_vec())),
        |texts| Arc::new(texts.iter().copied().collect::<DictionaryArray<Int8Type>>()),
        |texts| Arc::new(texts.iter().copied().collect::<DictionaryArray<UInt16Type>>()),
        |texts| {
            let keys = texts.iter().zip(0..).map(|(text, key)| text.map(|_| key));
            let values = LargeStringArray::from_iter(texts.iter().map(|text| text.or(Some("nobody"))));
            Arc::new(DictionaryArray::<Int32Type>::new(keys.collect(), Arc::new(values)))
        },
    ];
    let long = "a name too long to lie within a view";
    for form in forms {
        let rows = good(&stream(&[batch(vec![
            ("metric_name", form(&[Some("messages"), Some("a.b"), Some("a.b")])),
            ("value", Arc::new(Float64Array::from(vec![1.0, -2.5, 0.0]))),
            ("metric_type", form(&[None, Some("histogram"), Some("")])),
            ("account_id", form(&[Some(long), None, Some("")])),
            ("conversation_id", form(&[Some("ö"), None, Some(long)])),
            ("user_id", form(&[None, Some("u"), None])),
            ("metadata", form(&[Some(r#"{"a": 1}"#), Some("{}"), None])),
        ])]));
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                [
                    &row.metric_name,
                    &row.metric_type,
                    &row.account_id,
                    &row.conversation_id,
                    &row.user_id,
                    &row.metadata,
                ]
                .map(|text| text.as_ref())
            })
            .collect();
        assert_eq!(shown[0], ["messages", "counter", long, "ö", "", r#"{"a": 1}"#]);
        assert_eq!(shown[1], ["a.b", "histogram", "", "", "u", ""]);
        assert_eq!(shown[2], ["a.b", "gauge", "", long, "", ""]);
        assert!(rows.iter().all(|row| row.timestamp_ms == LOG_TIME_MS), "the log's time where none is given");
        assert_eq!(rows.iter().map(|row| row.value).collect::<Vec<_>>(), [1.0, -2.5, 0.0]);
    }
}

#[test]
fn numbers_and_times_of_every_type() {
    let values: [(ArrayRef, f64); 3] = [
        (Arc::new(Float32Array::from(vec![0.5])), 0.5),
        (Arc::new(UInt8Array::from(vec![200])), 200.0),
        (Arc::new(Int64Array::from(vec![-(1_i64 << 53) - 1])), -9_007_199_254_740_992.0),
    ];
    for (values, expected) in values {
        let rows = good(&stream(&[batch(vec![("metric_name", texts(&[Some("m")])), ("value", values)])]));
        assert_eq!(rows[0].value, expected);
    }
    let times: [ArrayRef; 7] = [
        Arc::new(TimestampSecondArray::from(vec![TIME_MS / 1000]).with_timezone("UTC")),
        Arc::new(TimestampMillisecondArray::from(vec![TIME_MS]).with_timezone("+02:00")),
        Arc::new(TimestampMicrosecondArray::from(vec![TIME_MS * 1000 + 999]).with_timezone("Europe/Berlin")),
        Arc::new(TimestampNanosecondArray::from(vec![TIME_MS * 1_000_000 + 999_999]).with_timezone("UTC")),
        Arc::new(Int64Array::from(vec![TIME_MS])),
        texts(&[Some("2024-09-11T17:30:45+02:00")]),
        Arc::new(["2024-09-11T15:30:45.0009Z"].into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for times in times {
        for name in ["timestamp", "created_at"] {
            assert_eq!(good(&with(vec![(name, Arc::clone(&times))]))[0].timestamp_ms, TIME_MS, "{times:?}");
        }
    }
    let absent: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![None::<i64>]).with_timezone("UTC"));
    assert_eq!(good(&with(vec![("timestamp", absent)]))[0].timestamp_ms, LOG_TIME_MS);
}

#[test]
fn a_column_that_says_nothing_is_absent() {
    let nothing = || -> ArrayRef { Arc::new(NullArray::new(1)) };
    let rows = good(&with(vec![("user_id", nothing()), ("timestamp", nothing()), ("metadata", nothing())]));
    assert_eq!((rows[0].user_id.as_ref(), rows[0].timestamp_ms), ("", LOG_TIME_MS));
}

#[test]
fn batches_of_a_message_number_their_rows_on_and_may_replace_their_dictionary() {
    let one = |text: &'static str, value| {
        batch(vec![
            (
                "metric_name",
                Arc::new([text, text].into_iter().collect::<DictionaryArray<Int32Type>>()) as ArrayRef,
            ),
            ("value", Arc::new(Float64Array::from(vec![value, value]))),
        ])
    };
    let rows = good(&stream(&[one("a", 1.0), one("b", 2.0)]));
    let shown: Vec<_> = rows.iter().map(|row| (row.metric_name.as_ref(), row.value)).collect();
    assert_eq!(shown, [("a", 1.0), ("a", 1.0), ("b", 2.0), ("b", 2.0)]);
    assert_eq!(read(&stream(&[one("a", 1.0).slice(0, 0)])), Ok(vec![]), "no row is no fault");
}

#[test]
fn what_the_encoder_writes_is_within_its_word() {
    let mut encoder = ArrowEncoder::default();
    for number in 0..3_000 {
        let conversation = format!("conversation-{}", number % 700);
        encoder.push(&NewMetric {
            metric_name: "response_time",
            value: f64::from(number),
            timestamp_ms: (number % 2 == 0).then_some(TIME_MS),
            conversation_id: Some(&conversation),
            metadata: (number % 3 == 0).then_some(r#"{"a":1}"#),
            ..NewMetric::default()
        });
    }
    let (rows, at_most) = (encoder.rows(), encoder.bytes_at_most());
    let message = encoder.finish().expect("is written");
    assert!(message.len() <= at_most, "{} > {at_most}", message.len());
    let read = good(&message);
    assert_eq!(read.len(), rows);
    assert_eq!(read[1].timestamp_ms, LOG_TIME_MS);
    assert_eq!(read[702].conversation_id, "conversation-2");
}
