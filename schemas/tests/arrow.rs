//! Arrow messages: the same rows as JSON gives, every reason for which one is refused, and that no
//! bytes whatever do more than be refused.

use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::{Int8Type, Int32Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, Float32Array, Float64Array, Int64Array, LargeStringArray, NullArray,
    RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use kelly_schemas::decode::{self, ArrowMessage, Origin, Rendering};
use kelly_schemas::encode::{ArrowEncoder, NewMetric};
use kelly_schemas::{Fault, Limits, Metric, topics};
use proptest::prelude::*;
use serde_json::json;

/// 2024-09-11T15:30:50Z.
const LOG_TIME_MS: i64 = 1_726_068_650_000;
/// Five seconds before.
const TIME_MS: i64 = 1_726_068_645_000;

/// A row of values, or its fault's code and what is kept of it.
type Outcome = Result<Metric<'static>, (String, String)>;

fn origin(limits: &Limits) -> Origin<'_> {
    Origin { topic: topics::METRICS, partition: 0, offset: 7, log_time_ms: LOG_TIME_MS, limits }
}

fn owned(metric: &Metric<'_>) -> Metric<'static> {
    let own = |text: &str| text.to_owned().into();
    Metric {
        metric_name: own(&metric.metric_name),
        metric_type: own(&metric.metric_type),
        value: metric.value,
        timestamp_ms: metric.timestamp_ms,
        account_id: own(&metric.account_id),
        conversation_id: own(&metric.conversation_id),
        user_id: own(&metric.user_id),
        metadata: own(&metric.metadata),
    }
}

fn read_with(payload: &[u8], limits: &Limits) -> Result<Vec<Outcome>, Fault> {
    let message = ArrowMessage::read(payload, limits).map_err(|reject| reject.fault)?;
    let mut rows = Vec::new();
    let mut rendering = Rendering::of_a_message();
    for columns in message.batches() {
        columns.rows(&origin(limits), &mut rendering, &mut |number, row| {
            assert_eq!(number as usize, rows.len(), "rows come in order");
            rows.push(row.map(|row| owned(&row.to_metric())).map_err(|reject| {
                let kept = String::from_utf8(reject.kept_bytes().into_owned()).expect("a rendering is text");
                (reject.fault.code().to_owned(), kept)
            }));
        });
    }
    assert_eq!(rows.len(), message.rows());
    Ok(rows)
}

fn read(payload: &[u8]) -> Result<Vec<Outcome>, Fault> {
    read_with(payload, &Limits::default())
}

fn good(payload: &[u8]) -> Vec<Metric<'static>> {
    read(payload).expect("can be read").into_iter().map(|row| row.expect("is good")).collect()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a stream");
    batches.iter().for_each(|batch| writer.write(batch).expect("is written"));
    writer.into_inner().expect("ends")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

/// One row with its name and its value, and other columns.
fn with(mut others: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    others.push(("metric_name", texts(&[Some("m")])));
    others.push(("value", Arc::new(Float64Array::from(vec![1.5]))));
    stream(&[batch(others)])
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

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
        let told: Vec<_> = rows
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
        assert_eq!(told[0], ["messages", "counter", long, "ö", "", r#"{"a": 1}"#]);
        assert_eq!(told[1], ["a.b", "histogram", "", "", "u", ""]);
        assert_eq!(told[2], ["a.b", "gauge", "", long, "", ""]);
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
    let told: Vec<_> = rows.iter().map(|row| (row.metric_name.as_ref(), row.value)).collect();
    assert_eq!(told, [("a", 1.0), ("a", 1.0), ("b", 2.0), ("b", 2.0)]);
    assert_eq!(read(&stream(&[one("a", 1.0).slice(0, 0)])), Ok(vec![]), "no row is no fault");
}

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
    let told: Vec<String> = rows
        .iter()
        .map(|row| match row {
            Ok(row) => format!("ok {}", row.value),
            Err((code, kept)) => format!("{code} {kept}"),
        })
        .collect();
    insta::assert_snapshot!("arrow_bad_rows", told.join("\n"));
    assert!(!told.join("").contains("secret"), "content is not kept");
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
    let mut told = Vec::new();
    for (case, payload) in cases {
        let reject = ArrowMessage::read(&payload, &Limits::default()).expect_err(case);
        let kept = String::from_utf8(reject.kept_bytes().into_owned()).expect("a description is text");
        told.push(format!("{case}\n  {}: {}\n  {kept}", reject.fault.code(), reject.fault));
    }
    insta::assert_snapshot!("arrow_refused_messages", told.join("\n"));
}

#[test]
fn a_list_is_no_column() {
    let mut lists = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
    lists.append_value([Some("a")]);
    let fault = read(&with(vec![("user_id", Arc::new(lists.finish()))])).expect_err("is refused");
    assert_eq!(fault.code(), "wrong_column_type");
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

/// Overwrites, cuts and repeats, as a broken or a hostile producer would.
#[derive(Debug, Clone)]
enum Damage {
    Byte(prop::sample::Index, u8),
    Word(prop::sample::Index, u64),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let word = prop::sample::select(vec![
        0,
        1,
        7,
        8,
        255,
        1 << 16,
        i32::MAX as u64,
        u64::from(u32::MAX),
        1 << 40,
        i64::MAX as u64,
        u64::MAX,
        (-8_i64) as u64,
    ]);
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (at(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1_usize..32).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..32)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn damage(message: &mut Vec<u8>, damage: &Damage) {
    if message.is_empty() {
        return;
    }
    match damage {
        Damage::Byte(at, byte) => *at.get_mut(message) = *byte,
        Damage::Word(at, word) => {
            let at = at.index(message.len()) & !3;
            let bytes = word.to_le_bytes();
            let length = bytes.len().min(message.len() - at);
            message[at..at + length].copy_from_slice(&bytes[..length]);
        }
        Damage::Cut(at) => message.truncate(at.index(message.len())),
        Damage::Remove(at, length) => {
            let at = at.index(message.len());
            message.drain(at..(at + length).min(message.len()));
        }
        Damage::Insert(at, bytes) => {
            let at = at.index(message.len());
            message.splice(at..at, bytes.iter().copied());
        }
    }
}

/// A message in which every kind of column and buffer occurs.
fn many_kinds() -> Vec<u8> {
    let names = |length: usize| (0..length).map(|at| Some(["a", "bb", "a long name for a view"][at % 3]));
    let one = |rows: usize| {
        batch(vec![
            ("metric_name", Arc::new(names(rows).collect::<DictionaryArray<Int8Type>>()) as ArrayRef),
            ("metric_type", Arc::new(names(rows).collect::<StringArray>())),
            (
                "value",
                Arc::new(Float32Array::from_iter((0..rows).map(|at| (at % 4 != 0).then_some(at as f32)))),
            ),
            (
                "timestamp",
                Arc::new(TimestampMicrosecondArray::from(vec![TIME_MS * 1000; rows]).with_timezone("UTC")),
            ),
            ("account_id", Arc::new(names(rows).collect::<LargeStringArray>())),
            ("conversation_id", Arc::new(names(rows).collect::<StringViewArray>())),
            ("user_id", Arc::new(names(rows).collect::<DictionaryArray<UInt16Type>>())),
            ("metadata", texts(&vec![Some("{\"k\":[1]}"); rows])),
        ])
    };
    stream(&[one(9), one(4)])
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
                // With several faults in a row either may be told.
                (Err(_), Err(_)) => {}
                (arrow, json) => prop_assert!(false, "{:?}: {:?} but {:?}", row, arrow, json),
            }
        }
    }

    #[test]
    fn bytes_that_are_no_stream_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, ..ProptestConfig::default() })]

    /// A panic or an overflow fails it; so would an allocation by a claimed length.
    #[test]
    fn no_damage_does_more_than_be_refused(damages in prop::collection::vec(any_damage(), 1..5)) {
        let mut message = many_kinds();
        damages.iter().for_each(|one| damage(&mut message, one));
        let _ = read(&message);
    }
}

#[test]
fn the_undamaged_message_is_good() {
    assert_eq!(read(&many_kinds()).expect("can be read").len(), 13);
}
