//! What holds for every message: nothing panics, every row gets one answer, and what was sent is what is read.

use kelly_schemas::Limits;
use kelly_schemas::decode::{self, CONTENT_FIELDS, Form, Origin, RawRow};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const LOG_TIME_MS: i64 = 1_726_068_650_000;

fn origin(limits: &Limits) -> Origin<'_> {
    Origin { partition: 1, offset: 7, log_time_ms: LOG_TIME_MS, limits }
}

/// What became of each row, comparable and without borrowing: its debug text, or the code of its fault.
fn metric_outcomes(payload: &[u8]) -> Vec<Result<String, &'static str>> {
    let limits = Limits::default();
    let mut outcomes = Vec::new();
    decode::metrics(payload, &origin(&limits), &mut |row, outcome| {
        assert_eq!(row as usize, outcomes.len());
        outcomes.push(outcome.map(|metric| format!("{metric:?}")).map_err(|reject| reject.fault.code()));
    });
    outcomes
}

fn activity_outcomes(payload: &[u8]) -> Vec<Result<String, &'static str>> {
    let limits = Limits::default();
    let mut outcomes = Vec::new();
    decode::activities(payload, &origin(&limits), &mut |row, outcome| {
        assert_eq!(row as usize, outcomes.len());
        outcomes.push(outcome.map(|event| format!("{event:?}")).map_err(|reject| reject.fault.code()));
    });
    outcomes
}

fn label() -> impl Strategy<Value = String> {
    r#"[ -~äöü漢😀"\\]{0,50}"#
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        r#"[ -~ä"\\\n]{0,12}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,6}", inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A row as a careless producer sends it: known names with any value, among unknown ones.
fn careless_row() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "metric_name",
            "metric_type",
            "value",
            "timestamp",
            "account_id",
            "metadata",
            "id",
            "event_type",
            "title",
            "severity",
            "created_at",
            "text",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,4}",
    ];
    prop::collection::vec((name, any_json()), 0..8)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

fn good_row() -> impl Strategy<Value = Value> {
    let name = "[A-Za-z0-9_.:/-]{1,100}";
    let value = prop_oneof![
        prop::num::f64::NORMAL.prop_filter("accepted", |value| value.abs() <= 1e130).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ];
    let age_ms = -600_000_i64..7_776_000_000;
    (name, value, age_ms, label(), label(), label()).prop_map(
        |(name, value, age_ms, account, conversation, user)| {
            json!({
                "metric_name": name,
                "value": value,
                "timestamp": LOG_TIME_MS - age_ms,
                "account_id": account,
                "conversation_id": conversation,
                "user_id": user,
            })
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(metric_outcomes(&bytes).is_empty(), bytes.trim_ascii() == b"[]");
        prop_assert_eq!(activity_outcomes(&bytes).is_empty(), bytes.trim_ascii() == b"[]");
        let _ = decode::redacted(&bytes);
    }

    #[test]
    fn a_message_cut_or_changed_anywhere_has_an_answer(
        row in careless_row(),
        cut in any::<prop::sample::Index>(),
        change in any::<u8>(),
    ) {
        let mut bytes = json!([row]).to_string().into_bytes();
        let at = cut.index(bytes.len());
        prop_assert!(!metric_outcomes(&bytes[..at]).is_empty());
        bytes[at] = change;
        metric_outcomes(&bytes);
        activity_outcomes(&bytes);
        let _ = decode::redacted(&bytes);
    }

    #[test]
    fn what_was_sent_is_what_is_read(row in good_row()) {
        let text = row.to_string();
        let limits = Limits::default();
        let mut read = None;
        decode::metrics(text.as_bytes(), &origin(&limits), &mut |_, outcome| read = Some(outcome));
        let metric = read.expect("one row").expect("a good row");
        prop_assert_eq!(metric.metric_name.as_ref(), row["metric_name"].as_str().expect("a name"));
        prop_assert_eq!(Some(metric.value), row["value"].as_f64());
        prop_assert_eq!(Some(metric.timestamp_ms), row["timestamp"].as_i64());
        prop_assert_eq!(metric.account_id.as_ref(), row["account_id"].as_str().expect("a string"));
        prop_assert_eq!(metric.conversation_id.as_ref(), row["conversation_id"].as_str().expect("a string"));
        prop_assert_eq!(metric.user_id.as_ref(), row["user_id"].as_str().expect("a string"));
    }

    #[test]
    fn a_row_of_an_array_fares_as_it_does_alone(rows in prop::collection::vec(prop_oneof![good_row(), careless_row()], 1..6)) {
        let alone: Vec<_> = rows.iter().flat_map(|row| metric_outcomes(row.to_string().as_bytes())).collect();
        let together = Value::from(rows).to_string();
        prop_assert_eq!(&metric_outcomes(together.as_bytes()), &alone);
        // And so it does over HTTP, cut out of the body first.
        let limits = Limits::default();
        let cut = decode::split_rows(together.as_bytes(), Form::Json, &limits).expect("an array");
        let over_http: Vec<_> = cut
            .iter()
            .map(|row: &RawRow<'_>| {
                let outcome = decode::metric(row, &origin(&limits));
                outcome.map(|metric| format!("{metric:?}")).map_err(|reject| reject.fault.code())
            })
            .collect();
        prop_assert_eq!(&over_http, &alone);
    }

    #[test]
    fn reading_again_gives_the_same(row in careless_row()) {
        let text = row.to_string();
        prop_assert_eq!(metric_outcomes(text.as_bytes()), metric_outcomes(text.as_bytes()));
        prop_assert_eq!(activity_outcomes(text.as_bytes()), activity_outcomes(text.as_bytes()));
    }

    #[test]
    fn unknown_fields_all_come_back_from_the_metadata(
        unknown in prop::collection::btree_map("x[a-z]{1,5}", any_json(), 0..6),
        metadata in prop::collection::btree_map("y[a-z]{1,5}", any_json(), 0..6),
    ) {
        let mut row: Map<_, _> = unknown.clone().into_iter().collect();
        row.insert("metric_name".into(), "m".into());
        row.insert("value".into(), 1.into());
        row.insert("metadata".into(), metadata.clone().into_iter().collect::<Map<_, _>>().into());
        let text = Value::Object(row).to_string();
        // A random name may be one of content, `xtext` cannot: every name begins with an x or a y.
        let limits = Limits::default();
        let mut kept = None;
        decode::metrics(text.as_bytes(), &origin(&limits), &mut |_, outcome| {
            kept = Some(outcome.map(|metric| metric.metadata.into_owned()));
        });
        let kept = kept.expect("one row");
        // Names further down are random: those of content are refused, and rightly.
        prop_assume!(!matches!(&kept, Err(reject) if reject.fault.code() == "conversation_content"));
        let kept = kept.expect("a good row");
        let mut expected = unknown;
        expected.extend(metadata);
        if expected.is_empty() {
            prop_assert_eq!(kept, "");
        } else {
            let kept: Map<_, _> = serde_json::from_str(&kept).expect("the metadata is an object");
            prop_assert_eq!(kept, expected.into_iter().collect::<Map<_, _>>());
        }
    }

    #[test]
    fn content_never_passes_and_never_stays(
        name in prop::sample::select(CONTENT_FIELDS.to_vec()),
        upper in any::<bool>(),
        depth in 0_usize..4,
        mut row in good_row(),
    ) {
        const SAID: &str = "somebody said this";
        let name = if upper { name.to_uppercase() } else { name.to_owned() };
        let content = (0..depth).fold(json!({ name: SAID }), |inner, _| json!({ "deeper": [inner] }));
        row["metadata"] = content;
        let text = row.to_string();
        let limits = Limits::default();
        let mut seen = 0;
        decode::metrics(text.as_bytes(), &origin(&limits), &mut |_, outcome| {
            let reject = outcome.expect_err("content is refused");
            assert_eq!(reject.fault.code(), "conversation_content");
            assert!(!reject.fault.to_string().contains(SAID));
            assert!(!String::from_utf8_lossy(&reject.kept_bytes()).contains(SAID));
            seen += 1;
        });
        prop_assert_eq!(seen, 1);
    }

    #[test]
    fn redaction_keeps_json_json_and_no_string(value in any_json()) {
        let redacted = decode::redacted(value.to_string().as_bytes());
        let redacted: Value = serde_json::from_slice(&redacted).expect("JSON stays JSON");
        prop_assert!(!has_string(&redacted), "{redacted}");
    }
}

fn has_string(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().any(has_string),
        Value::Object(fields) => fields.values().any(has_string),
        _ => false,
    }
}

#[test]
fn bounds_of_a_message() {
    let limits = Limits { max_rows: 2, max_message_bytes: 100, ..Limits::default() };
    let code = |payload: &str| {
        let mut codes = Vec::new();
        decode::metrics(payload.as_bytes(), &origin(&limits), &mut |row, outcome| {
            codes.push((row, outcome.map(|_| ()).map_err(|reject| reject.fault.code())));
        });
        codes
    };
    let row = r#"{"metric_name":"m","value":1}"#;
    assert_eq!(code(&format!("[{row},{row}]")), [(0, Ok(())), (1, Ok(()))]);
    assert_eq!(code(&format!("[{row},{row},{row}]")), [(0, Err("too_many_rows"))]);
    assert_eq!(code(&format!("{row}{}", " ".repeat(100))), [(0, Err("message_too_large"))]);
    assert_eq!(code(" \n"), [(0, Err("empty_message"))]);
    assert_eq!(code(""), [(0, Err("empty_message"))]);
    assert_eq!(code("[]"), []);
}

#[test]
fn nesting_without_end_is_a_fault_and_no_stack_overflow() {
    let deep = "[".repeat(500_000) + &"]".repeat(500_000);
    assert_eq!(metric_outcomes(deep.as_bytes()), [Err("not_an_object")]);
    for field in ["unknown", "metadata", "account_id", "value", "timestamp"] {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let message = format!(r#"{{"metric_name":"m","value":1,"{field}":{deep}}}"#);
        let outcomes = metric_outcomes(message.as_bytes());
        assert!(outcomes.len() == 1 && outcomes[0].is_err(), "{field}: {outcomes:?}");
    }
    assert_eq!(metric_outcomes("[".repeat(500_000).as_bytes()), [Err("invalid_json")]);
    assert_eq!(metric_outcomes("{\"a\":".repeat(100_000).as_bytes()), [Err("invalid_json")]);
}

#[test]
fn invalid_utf8_names_its_byte() {
    let limits = Limits::default();
    let mut said = String::new();
    decode::metrics(b"{\"metric_name\":\"\xff\"}", &origin(&limits), &mut |_, outcome| {
        said = outcome.expect_err("is refused").fault.to_string();
    });
    assert_eq!(said, "byte 16 of the message is not UTF-8; encode JSON as UTF-8");
}

#[test]
fn unknown_fields_are_bounded() {
    let row = |fields: usize| {
        let fields: String = (0..fields).map(|number| format!(r#","f{number}":0"#)).collect();
        format!(r#"{{"metric_name":"m","value":1{fields}}}"#)
    };
    assert!(metric_outcomes(row(64).as_bytes())[0].is_ok());
    assert_eq!(metric_outcomes(row(65).as_bytes()), [Err("too_many_fields")]);
}
