//! What is refused, whole or a row alone, and what is kept of it.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, NullArray, StringArray, TimestampMillisecondArray,
};
use kelly_schemas::decode::ArrowMessage;
use kelly_schemas::{Fault, Limits};

use crate::messages::{TIME_MS, batch, good, read, read_with, stream, texts, with};

#[test]
fn a_bad_row_is_refused_alone_and_shown_as_json() {
    let keyed = |texts: Vec<Option<&'static str>>| -> ArrayRef {
        Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>())
    };
    let secret = r#"{"a":{"prompt":"the secret words"}}"#;
    let payload = stream(&[batch(vec![
        (
            "metric_name",
            keyed(vec![
                Some("m"),
                Some("no good"),
                None,
                Some("m"),
                Some("m"),
                Some("no good"),
                Some("m"),
                Some("m"),
            ]),
        ),
        (
            "value",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                Some(2.0),
                Some(3.0),
                None,
                Some(f64::NAN),
                Some(6.0),
                Some(7.0),
                Some(8.0),
            ])),
        ),
        (
            "timestamp",
            Arc::new(Int64Array::from(vec![
                TIME_MS,
                TIME_MS,
                TIME_MS,
                TIME_MS,
                TIME_MS,
                TIME_MS,
                TIME_MS / 1000,
                TIME_MS,
            ])),
        ),
        ("metadata", texts(&[None, None, None, None, None, Some(secret), Some(r#"{"k":1}"#), Some("{k:1}")])),
        ("account_id", keyed(vec![Some("acme"); 8])),
    ])]);
    let rows = read(&payload).expect("the message can be read");
    let shown: Vec<String> = rows
        .iter()
        .map(|row| match row {
            Ok(row) => format!("ok {}", row.value),
            Err((code, kept)) => format!("{code} {kept}"),
        })
        .collect();
    insta::assert_snapshot!("arrow_bad_rows", shown.join("\n"));
    assert!(!shown.join("").contains("secret"), "content is not kept");
}

#[test]
fn metadata_is_shown_as_an_object_or_by_its_size() {
    let large = format!(r#"{{"k":"{}"}}"#, "x".repeat(8 << 10));
    let large_content = format!(r#"{{"k":"{}","te\u0078t":"the secret words"}}"#, "x".repeat(8 << 10));
    let texts_of: [(&str, &str); 7] = [
        (r#"{"te\u0078t":"the secret words"}"#, "conversation_content"),
        (r#"{"te\u0078t":"the secret words""#, "invalid_json"),
        ("{text: the secret words}", "invalid_json"),
        (r#""{\"te\\u0078t\":\"the secret words\"}""#, "wrong_type"),
        (r#"["the secret words"]"#, "wrong_type"),
        (&large, "metadata_too_large"),
        (&large_content, "conversation_content"),
    ];
    for (text, expected) in texts_of {
        let rows = read(&with(vec![("metadata", texts(&[Some(text)]))])).expect("can be read");
        let Err((code, kept)) = &rows[0] else { panic!("{text} is taken") };
        assert_eq!(code, expected, "{text}");
        assert!(!kept.contains("secret"), "{kept}");
        assert!(
            expected == "conversation_content" || kept.contains(&format!("\"{} bytes\"", text.len())),
            "{kept}"
        );
    }
}

#[test]
fn the_bad_rows_of_a_message_are_shown_up_to_a_bound_over_all_its_record_batches() {
    let account = "x".repeat(600);
    let one = batch(vec![
        ("metric_name", texts(&[Some("no good"); 100])),
        ("value", Arc::new(Float64Array::from(vec![1.0; 100]))),
        ("account_id", texts(&[Some(account.as_str()); 100])),
    ]);
    let rows = read(&stream(&vec![one; 12])).expect("can be read");
    let kept: Vec<usize> = rows.iter().map(|row| row.as_ref().expect_err("is bad").1.len()).collect();
    let shown = kept.iter().take_while(|bytes| **bytes > 0).count();
    assert_eq!((kept.len(), kept[0] > 600), (1_200, true));
    assert!(kept[shown..].iter().all(|bytes| *bytes == 0), "of the rest only the reason");
    let total: usize = kept.iter().sum();
    assert!(total <= 256 << 10 && total + kept[0] > 256 << 10, "{total} bytes of {shown} rows");
}

#[test]
fn a_dictionary_may_be_larger_than_its_rows_but_not_than_a_message() {
    let dictionary = |values: usize| {
        let values = StringArray::from_iter_values((0..values).map(|number| format!("m{number}")));
        let names = DictionaryArray::<Int32Type>::new(vec![3, 90, 3].into(), Arc::new(values));
        let value = Float64Array::from(vec![1.0; 3]);
        batch(vec![("metric_name", Arc::new(names) as ArrayRef), ("value", Arc::new(value))])
    };
    let names: Vec<_> = good(&stream(&[dictionary(100)])).into_iter().map(|row| row.metric_name).collect();
    assert_eq!(names, ["m3", "m90", "m3"]);
    let payload = stream(&[dictionary(100)]);
    let message = ArrowMessage::read(&payload, &Limits::default()).expect("can be read");
    let distinct = message.batches().map(|columns| columns.distinct().metric_names).sum::<usize>();
    assert_eq!(distinct, 0, "no table is larger than the rows");

    let limits = Limits { max_arrow_rows: 99, ..Limits::default() };
    let fault = read_with(&payload, &limits).expect_err("is refused");
    assert_eq!(fault, Fault::DictionaryTooLarge { values: 100, limit: 99 });
    let empty = stream(&[dictionary(91).slice(0, 0), dictionary(100), dictionary(100).slice(0, 0)]);
    let message = ArrowMessage::read(&empty, &Limits::default()).expect("can be read");
    assert_eq!(message.batches().count(), 1, "a record batch without rows is passed over");
}

#[test]
fn a_message_is_refused_whole_with_one_fault() {
    let value: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let name = texts(&[Some("m")]);
    let rows = |rows: usize| {
        let value: ArrayRef = Arc::new(Float64Array::from(vec![1.0; rows]));
        stream(&[batch(vec![("metric_name", texts(&vec![Some("m"); rows])), ("value", value)])])
    };
    let naive: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![TIME_MS]));
    let nothing: ArrayRef = Arc::new(NullArray::new(1));
    let good_message = with(vec![]);
    let truncated = &good_message[..good_message.len() - 40];
    let trailing = [&good_message[..], b"more"].concat();
    let shared = {
        let mut texts = StringDictionaryBuilder::<Int32Type>::new();
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(8_000));
        (0..5_000).for_each(|_| texts.append_value(&text));
        let names = StringArray::from(vec!["m"; 5_000]);
        let values = Float64Array::from(vec![1.0; 5_000]);
        stream(&[batch(vec![
            ("metric_name", Arc::new(names) as ArrayRef),
            ("value", Arc::new(values)),
            ("metadata", Arc::new(texts.finish())),
        ])])
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("json", b"{\"metric_name\":\"m\",\"value\":1}".to_vec()),
        ("zeros", vec![0; 64]),
        ("broken off", truncated.to_vec()),
        ("more behind the end", trailing),
        ("two streams", [&good_message[..], &good_message[..]].concat()),
        ("no value", stream(&[batch(vec![("metric_name", name.clone())])])),
        ("unknown column", with(vec![("color", name.clone())])),
        ("time called ts", with(vec![("ts", name.clone())])),
        ("content", with(vec![("messageText", name.clone()), ("color", name.clone())])),
        ("twice", with(vec![("value", value.clone())])),
        ("time twice", with(vec![("timestamp", naive.clone()), ("created_at", naive.clone())])),
        ("naive time", with(vec![("timestamp", naive)])),
        ("wrong type", with(vec![("account_id", value.clone())])),
        ("no type", stream(&[batch(vec![("metric_name", nothing), ("value", value)])])),
        ("value as text", stream(&[batch(vec![("metric_name", name.clone()), ("value", name)])])),
        ("too many rows", rows((1 << 16) + 1)),
        ("shared texts", shared),
        ("too many bytes", vec![0; (4 << 20) + 1]),
    ];
    let mut shown = Vec::new();
    for (case, payload) in cases {
        let reject = ArrowMessage::read(&payload, &Limits::default()).expect_err(case);
        let kept = String::from_utf8(reject.kept_bytes().into_owned()).expect("a description is text");
        shown.push(format!("{case}\n  {}: {}\n  {kept}", reject.fault.code(), reject.fault));
    }
    insta::assert_snapshot!("arrow_refused_messages", shown.join("\n"));
}

#[test]
fn a_list_is_no_column() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a")]);
    let fault = read(&with(vec![("user_id", Arc::new(lists.finish()))])).expect_err("is refused");
    assert_eq!(fault.code(), "wrong_column_type");
}
