//! Which column or field is the time, the value, the metric, and in which unit times are written.

use super::*;

fn time_column(name: &str) -> Options {
    Options {
        columns: ColumnNames { time: Some(name.into()), ..ColumnNames::default() },
        ..Options::default()
    }
}

#[test]
fn a_time_under_another_name_is_asked_for() {
    for name in ["time", "date", "ts", "@timestamp", "createdAt", "Date Time", "when"] {
        let asked = asked("m.csv", &format!("{name},value\n2026-11-30 02:00:00,1\n"), &Options::default());
        assert!(asked.contains(&format!("--time-column {name:?}")), "{name}: {asked}");
        let found = rows("m.csv", &format!("{name},value\n2026-11-30 02:00:00,1\n"), &time_column(name));
        assert_eq!(found, [r#"{"timestamp":1796004000000,"value":1.0,"metric_name":"m"}"#]);
    }
    for name in ["time", "date", "ts", "Timestamp", "@timestamp", "createdAt"] {
        let text = format!("{{\"metric_name\":\"m\",\"value\":1,\"{name}\":\"2026-11-30T02:00:00Z\"}}\n");
        let asked = asked("m.ndjson", &text, &Options::default());
        assert!(asked.contains(&format!("--time-column {name:?}")), "{name}: {asked}");
        let found = rows("m.ndjson", &text, &time_column(name));
        assert_eq!(found, ["{\"metric_name\":\"m\",\"value\":1,\"timestamp\":\"2026-11-30T02:00:00Z\"}"]);
    }
    // Later in a file the decoder refuses the row.
    let text = "{\"metric_name\":\"m\",\"value\":1}\n{\"metric_name\":\"m\",\"value\":1,\"ts\":5}\n";
    let (found, bad) = read("m.ndjson", text).unwrap();
    assert_eq!((found.len(), bad.len()), (1, 1));
    assert!(
        bad[0].starts_with("line 2: `ts` is not read as the time") && bad[0].ends_with("(misnamed_time)"),
        "{bad:?}"
    );
    // Who means it says so.
    let without = Options { without_time: true, ..Options::default() };
    assert_eq!(rows("m.csv", "opened,value\n2026-11-30,1\n", &without).len(), 1);
    assert!(
        asked("m.csv", "timestamp,value\n0,1\n", &time_column("tiem")).contains("there are timestamp, value")
    );
    assert!(asked("m.ndjson", "{\"value\":1}", &time_column("tiem")).contains("it has value"));
}

#[test]
fn value_and_metric_may_have_other_names() {
    let columns = ColumnNames { value: Some("load".into()), metric: Some("series".into()), time: None };
    let options = Options { columns, ..Options::default() };
    let found = rows("x.csv", "timestamp,series,load\n2026-11-30,cpu,1\n", &options);
    assert_eq!(found, [r#"{"timestamp":1795996800000,"metric_name":"cpu","value":1.0}"#]);
    let found = rows("x.ndjson", "{\"series\": \"cpu\", \"load\": 1.50}\n", &options);
    assert_eq!(found, ["{\"metric_name\": \"cpu\", \"value\": 1.50}"]);
    let asked = asked("x.csv", "timestamp,load\n2026-11-30,1\n", &Options::default());
    assert!(asked.contains("--value-column") && asked.contains("there are timestamp, load"), "{asked}");
}

#[test]
fn both_names_of_the_time_are_moved() {
    for (name, text) in [
        ("a.csv", "created_at,value\n2026-11-30,1\n"),
        ("a.ndjson", "{\"metric_name\":\"a\",\"value\":1,\"created_at\":1795996800000}"),
        ("a.ndjson", "{\"event_type\":\"e\",\"title\":\"t\",\"timestamp\":\"2026-11-30T00:00:00Z\"}"),
        ("a.csv", "timestamp,event_type,title\n2026-11-30,e,t\n"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let source = Source::new(&path, &Options::default()).unwrap();
        let Some(Found::Row(row)) = source.open().unwrap().next().unwrap() else { panic!("{name}: no row") };
        assert_eq!(row.at_ms, Some(1_795_996_800_000), "{name}");
        let moved = row.json(Some(1_700_000_000_000)).into_owned();
        let moved = String::from_utf8(moved).unwrap();
        assert!(moved.contains("1700000000000") && !moved.contains("1795996800000"), "{moved}");
        row.check(moved.as_bytes(), 1_700_000_000_000, &Limits::default()).expect("the decoder takes it");
    }
}

#[test]
fn the_unit_of_epoch_numbers_is_asked_for() {
    for (number, unit) in [("1796011778", "s"), ("1796011778000000", "us"), ("1796011778000000000", "ns")] {
        for (name, text) in [
            ("m.csv", format!("timestamp,value\n{number},1\n")),
            ("m.ndjson", format!("{{\"metric_name\":\"m\",\"value\":1,\"timestamp\":{number}}}")),
        ] {
            let asked = asked(name, &text, &Options::default());
            assert!(asked.contains(&format!("--time-unit {unit}")) && asked.contains(number), "{asked}");
            assert!(asked.contains("timestamp"), "{asked}");
            let unit = clap::ValueEnum::from_str(unit, true).unwrap();
            let time = TimeOptions { unit: Some(unit), ..TimeOptions::default() };
            let found = rows(name, &text, &Options { time, ..Options::default() });
            assert!(found[0].contains("\"timestamp\":1796011778000"), "{found:?}");
        }
    }
    // A later number in another unit stops a replay that moves times: two hours must not become seven seconds.
    let text = "timestamp,value\n1796011778000,1\n1796011778,1\n";
    let moved = TimeOptions { is_moved: true, ..TimeOptions::default() };
    let why =
        read_with("m.csv", text.as_bytes(), &Options { time: moved, ..Options::default() }).unwrap_err();
    assert!(why.contains("line 3") && why.contains("--time-unit s"), "{why}");
}

#[test]
fn what_holds_times_is_asked_for_whatever_it_is_called() {
    let without = Options { without_time: true, ..Options::default() };
    for time in ["\"2026-11-30T02:00:00Z\"", "1796011778", "1796011778000", "1796011778000000.5"] {
        let cell = time.trim_matches('"');
        for (name, text) in [
            ("m.csv", format!("when,value\n{cell},1\n")),
            ("m.ndjson", format!("{{\"metric_name\":\"m\",\"value\":1,\"when\":{time}}}")),
            ("m.ndjson", format!("{{\"event_type\":\"e\",\"title\":\"t\",\"when\":{time}}}")),
        ] {
            let asked = asked(name, &text, &Options::default());
            assert!(asked.contains("--time-column \"when\"") && asked.contains("--without-time"), "{asked}");
            let found = rows(name, &text, &without);
            assert!(found[0].contains("\"when\":") && !found[0].contains("timestamp"), "{found:?}");
        }
    }
    // What the contract or a flag names is something else.
    let account = "{\"metric_name\":\"m\",\"value\":1796011778,\"account_id\":\"1796011778\",\"n\":17}";
    assert_eq!(rows("m.ndjson", account, &Options::default()), [account]);
    let columns = ColumnNames { value: Some("bytes".into()), ..ColumnNames::default() };
    let options = Options { columns, ..Options::default() };
    assert_eq!(rows("m.csv", "bytes\n1796011778\n", &options).len(), 1);
}

#[test]
fn a_table_without_a_time_asks_for_the_first_value_that_looks_like_one() {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
    let columns: [(&str, ArrayRef); 3] = [
        ("metric_name", Arc::new(StringArray::from(vec!["m", "m"]))),
        ("value", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
        ("when", Arc::new(Int64Array::from(vec![None, Some(1_796_011_778_000)]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let stream = super::tables::arrow_stream(&batch, None);
    let why = read_with("a.arrow", &stream, &Options::default()).unwrap_err();
    assert!(why.starts_with("usage: ") && why.contains("--time-column \"when\""), "{why}");
    let (found, bad) = read_with("a.arrow", &stream, &time_column("when")).unwrap();
    assert_eq!((found.len(), bad.len()), (2, 0));
    let misnamed = RecordBatch::try_from_iter([
        ("ts", batch.column(2).clone()),
        ("metric_name", batch.column(0).clone()),
        ("value", batch.column(1).clone()),
    ]);
    let stream = super::tables::arrow_stream(&misnamed.unwrap(), None);
    let without = Options { without_time: true, ..Options::default() };
    let (found, bad) = read_with("a.arrow", &stream, &without).unwrap();
    assert_eq!((&*found[1], bad.len()), (r#"{"metric_name":"m","value":2.0}"#, 0));
}

#[test]
fn who_says_that_rows_have_no_time_has_them_recorded() {
    let without = Options { without_time: true, ..Options::default() };
    for name in ["ts", "time", "@timestamp", "createdAt"] {
        let found = rows("m.csv", &format!("{name},value\n2026-11-30,1\n# below\n2026-11-30,2\n"), &without);
        assert_eq!(found, [1, 2].map(|n| format!("{{\"value\":{n}.0,\"metric_name\":\"m\"}}")), "{name}");
        let text = format!(
            "{{\"{name}\":5, \"metric_name\":\"m\",\"value\":1,\"time_ms\":5}}\n{{\"metric_name\":\"m\",\"value\":2 ,\"{name}\":\"x\"}}"
        );
        let found = rows("m.ndjson", &text, &without);
        assert_eq!(
            found,
            ["{\"metric_name\":\"m\",\"value\":1}", "{\"metric_name\":\"m\",\"value\":2}"],
            "{name}"
        );
    }
    // Beside the time it is a field as any other.
    let text = "{\"metric_name\":\"m\",\"value\":1,\"timestamp\":5,\"ts\":6}";
    assert_eq!(rows("m.ndjson", text, &without), [text]);
}
