//! JSON, a row a line or as it stands in a file.

use super::*;

#[test]
fn json_keeps_its_own_bytes() {
    for text in [
        r#"{"metric_name":"d","value":1.10,"metadata":{"z":340282366920938463463374607431768211455,"a":1.10}}"#,
        r#"{ "value" : 1e0, "metric_name":"\u0064", "timestamp":"2026-11-30T02:00:00.000+00:00", "b":[1,{"c":"}"}] }"#,
    ] {
        assert_eq!(rows("d.ndjson", text, &Options::default()), [text]);
        assert_eq!(rows("d.json", &format!("[{text},\n{text}]"), &Options::default()), [text, text]);
    }
    let options = Options { metric: Some("m".into()), account: Some("a\"b".into()), ..Options::default() };
    assert_eq!(
        rows("d.ndjson", "{ \"value\":1.10}", &options),
        [r#"{"metric_name":"m","account_id":"a\"b", "value":1.10}"#]
    );
}

#[test]
fn a_field_that_is_there_twice_is_refused() {
    let (found, bad) = read("d.ndjson", r#"{"metric_name":"d","value":1,"value":2}"#).unwrap();
    assert!(found.is_empty() && bad[0].ends_with("(duplicate_field)"), "{found:?} {bad:?}");
    let (found, bad) =
        read("d.ndjson", r#"{"metric_name":"d","value":1,"timestamp":5,"created_at":5}"#).unwrap();
    assert!(found.is_empty() && bad[0].ends_with("(duplicate_field)"), "{found:?} {bad:?}");
    assert!(
        asked("d.csv", "timestamp,value,value\n0,1,2\n", &Options::default())
            .contains("value is there twice")
    );
    assert!(
        asked("d.csv", "timestamp,created_at,value\n0,0,1\n", &Options::default())
            .contains("leave a column out")
    );
}

#[test]
fn json_lines_are_metrics_or_events() {
    let options = Options { metric: Some("m".into()), account: Some("a".into()), ..Options::default() };
    let text = concat!(
        "{\"metric_name\":\"x\",\"value\":1,\"timestamp\":\"2026-01-01T00:00:00Z\"}\n",
        "{\"event_type\":\"e\",\"title\":\"t\",\"created_at\":5,\"account_id\":\"own\"}\n",
        "{\"value\":2,\"timestamp\":\"2026-01-01 00:00:00\"}\n",
        "[1]\n",
        "{\"value\":2,\n",
        "{\"value\":2,\"timestamp\":{}}\n",
        "{\"value\":2,\"event_type\":\"e\"}",
    );
    let (found, bad) = read_with("m.ndjson", text.as_bytes(), &options).unwrap();
    assert_eq!(
        found,
        [
            r#"{"account_id":"a","metric_name":"x","value":1,"timestamp":"2026-01-01T00:00:00Z"}"#,
            r#"{"event_type":"e","title":"t","created_at":5,"account_id":"own"}"#,
            r#"{"metric_name":"m","account_id":"a","value":2,"timestamp":1767225600000}"#,
            r#"{"metric_name":"m","account_id":"a","value":2,"event_type":"e"}"#,
        ]
    );
    let codes: Vec<&str> = bad.iter().map(|message| message.rsplit_once(" (").unwrap().1).collect();
    assert_eq!(codes, ["not_an_object)", "invalid_json)", "wrong_type)"], "{bad:?}");
    assert!(
        asked("m.ndjson", r#"{"metric_name":"m","value":1,"event_type":"e","title":"t"}"#, &options)
            .contains("may be")
    );
}

#[test]
fn a_line_without_end_is_one_bad_row() {
    let mut text = b"{\"metric_name\":\"m\",\"value\":1}\n{\"value\":\"".to_vec();
    text.extend(vec![b'x'; 3 * LONGEST_ROW]);
    text.extend(b"\"}\n{\"metric_name\":\"m\",\"value\":2}\n");
    let (found, bad) = read_with("a.ndjson", &text, &Options::default()).unwrap();
    assert_eq!((found.len(), bad.len()), (2, 1));
    assert!(bad[0].starts_with("line 2: more than 1 MiB"), "{bad:?}");
}

#[test]
fn a_json_file_is_one_object_an_array_or_a_sequence() {
    let row = "{\"metric_name\":\"m\",\"value\":1}";
    for text in [
        "{\n \"metric_name\":\"m\",\"value\": 1\n}\n".to_owned(),
        format!("\u{feff}[\n{row}\n]\n"),
        row.to_owned(),
    ] {
        assert_eq!(rows("a.json", &text, &Options::default()).len(), 1, "{text:?}");
    }
    let (found, bad) = read("a.json", &format!("[\n{row},\n 7,\n{row}")).unwrap();
    assert_eq!((found.len(), bad.len()), (2, 2));
    assert!(bad[0].starts_with("line 3:") && bad[1].starts_with("line 4: the array has no end"), "{bad:?}");
}

#[test]
fn a_row_of_several_lines_is_one_row() {
    let pretty = "{\n  \"metric_name\": \"m\",\r\n  \"value\": 1,\n  \"metadata\": {\n  }\n}";
    let line = r#"{"metric_name":"m","value":2}"#;
    assert_eq!(rows("d.json", &format!("{pretty}\n{line}\n"), &Options::default()), [pretty, line]);
}

#[test]
fn a_text_is_no_metadata_here_as_it_is_none_over_http() {
    for metadata in [r#""{\"a\":1}""#, r#""""#, "[]", "7"] {
        let text = format!("{{\"metric_name\":\"m\",\"value\":1,\"metadata\":{metadata}}}");
        let (found, bad) = read("d.ndjson", &text).unwrap();
        assert!(found.is_empty() && bad[0].ends_with("(wrong_type)"), "{metadata}: {found:?} {bad:?}");
    }
}

#[test]
fn a_row_that_may_be_a_metric_or_an_event_is_left_out_wherever_it_stands() {
    let both = r#"{"metric_name":"m","value":1,"event_type":"e","title":"t"}"#;
    let (found, bad) = read("d.ndjson", &format!("{{\"metric_name\":\"m\",\"value\":1}}\n{both}\n")).unwrap();
    assert_eq!((found.len(), bad.len()), (1, 1));
    assert!(bad[0].starts_with("line 2: its rows may be metrics"), "{bad:?}");
    let columns = ColumnNames { value: Some("load".into()), ..ColumnNames::default() };
    let options = Options { columns, ..Options::default() };
    let text = r#"{"metric_name":"m","load":1,"event_type":"e","title":"t"}"#;
    assert_eq!(rows("d.ndjson", text, &options), [text.replace("load", "value")]);
}
