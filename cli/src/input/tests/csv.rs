//! CSV as people have it.

use super::*;

#[test]
fn a_series_of_the_numenta_benchmark_is_read() {
    let options = Options { account: Some("nyc".into()), ..Options::default() };
    let text = "timestamp,value\n2014-07-01 00:00:00,10844\r\n\n2014-07-01 00:30:00,8127.5\n";
    assert_eq!(
        rows("taxi.csv", text, &options),
        [
            r#"{"timestamp":1404172800000,"value":10844.0,"metric_name":"taxi","account_id":"nyc"}"#,
            r#"{"timestamp":1404174600000,"value":8127.5,"metric_name":"taxi","account_id":"nyc"}"#,
        ]
    );
}

#[test]
fn a_quoted_cell_may_have_line_breaks() {
    let text = "timestamp,value,note\n2026-11-30 02:00:00,1,\"first\n2026-11-30 02:05:00,99,second\"\n";
    let found = rows("m.csv", text, &Options::default());
    assert_eq!(
        found,
        [
            r#"{"timestamp":1796004000000,"value":1.0,"note":"first\n2026-11-30 02:05:00,99,second","metric_name":"m"}"#
        ]
    );
}

#[test]
fn what_spreadsheets_write_is_read() {
    let expected = [r#"{"timestamp":1262304000000,"value":1.5,"metric_name":"m"}"#];
    for text in [
        "timestamp;value\n2010/01/01;1,5\n",
        "timestamp\tvalue\n01.01.2010\t1,5\n",
        "# by hand\n# on a Friday\ntimestamp,value\n2010-01-01 00:00:00 UTC,1.5\n",
        "timestamp,value\n2010-01-01T00:00:00+0000,1.5\n# a comment, below\n",
        "timestamp,value\n1262304000000.0,1.5\n",
        "timestamp, value\n2010-01-01 01:00:00 +0100, 1.5\n",
        "\"timestamp\";\"value\"\n\"2010-01-01\";\"1,5\"\n",
        "\u{feff}TimeStamp,Value\n2010-01-01,\"1,5\"\n",
    ] {
        assert_eq!(rows("m.csv", text, &Options::default()), expected, "{text:?}");
    }
    let tab = "timestamp\tvalue\n2010-01-01\t1.5\n";
    assert_eq!(rows("m.tsv", tab, &Options::default()), expected);
}

#[test]
fn what_has_two_meanings_names_column_value_and_flag() {
    for (text, value, column, flag) in [
        ("timestamp,value\n01/02/2010,1\n", "01/02/2010", "timestamp", "--time-format"),
        ("timestamp;value\n2010-01-01;1,234\n", "1,234", "value", "--decimal"),
        ("timestamp,value\n1262304000,1\n", "1262304000", "timestamp", "--time-unit s"),
    ] {
        let asked = asked("m.csv", text, &Options::default());
        assert!(
            asked.contains(value) && asked.contains(&format!("`{column}`")) && asked.contains(flag),
            "{asked}"
        );
    }
    assert!(asked("m.csv", "a,b;c\n1,2;3\n", &Options::default()).contains("--delimiter"));
    let (found, bad) = read("m.csv", "timestamp,value\n2010-01-01,1\n31 Dec,2\n2010-01-02,\n,3\n").unwrap();
    assert_eq!((found.len(), bad.len()), (1, 3));
    assert!(
        bad[0].contains("\"31 Dec\" in `timestamp` is no time") && bad[0].contains("--time-format"),
        "{bad:?}"
    );
    assert!(bad[1].contains("`value` is empty") && bad[2].contains("`timestamp` is empty"), "{bad:?}");
}

#[test]
fn the_metric_is_asked_for_once() {
    let text = "timestamp,value\n2010-01-01,1\n2010-01-02,2\n";
    let asked_for = asked("my data (1).csv", text, &Options::default());
    assert!(asked_for.contains("--metric NAME") && asked_for.contains("my data (1)"), "{asked_for}");
    let wrong = Options { metric: Some("my data".into()), ..Options::default() };
    assert!(asked("a.csv", text, &wrong).contains("--metric"));
    let options = Options { metric: Some("m".into()), ..Options::default() };
    assert_eq!(rows("my data (1).csv", text, &options).len(), 2);
}

#[test]
fn bad_rows_are_reported_with_their_places_and_the_others_pass() {
    let text = "timestamp,value\nnever,1\n2026-01-01,much\n2026-01-01,NaN\n2026-01-01\n2026-01-01,5\n\"x,1\n2026-01-01,6";
    let (found, bad) = read("m.csv", text).unwrap();
    assert_eq!(found.len(), 1);
    let begins: Vec<&str> = bad.iter().map(|message| &message[..7]).collect();
    assert_eq!(begins, ["line 2:", "line 3:", "line 4:", "line 5:", "line 7:"]);
}

#[test]
fn other_columns_go_along_under_their_names() {
    let text =
        ",Region,value,metadata\n0,eu,1,\"{\"\"a\"\":2}\"\n1,,2,\n2,eu,3,{\n4,eu,5,\"{},\"\"value\"\":9\"\n";
    let (found, bad) = read("m.csv", text).unwrap();
    assert_eq!(found[0], r#"{"Region":"eu","value":1.0,"metadata":{"a":2},"metric_name":"m"}"#);
    assert_eq!(found[1], r#"{"value":2.0,"metric_name":"m"}"#);
    assert!(bad.len() == 2 && bad[0].starts_with("line 4: `metadata` is no JSON object"), "{bad:?}");
    assert!(
        asked("m.csv", "timestamp,value,message\n", &Options::default()).contains("conversation content")
    );
}

#[test]
fn a_header_that_is_none_says_so() {
    assert!(
        asked("m.csv", "2014-07-01 00:00:00,10844\n", &Options::default()).contains("its first line is data")
    );
    assert!(asked("m.csv", "1,2\n3,4\n", &Options::default()).contains("its first line is data"));
    assert_eq!(read("m.csv", ""), Ok((vec![], vec![])));
}

#[test]
fn a_comment_is_a_line_and_a_row_is_no_comment() {
    // A quote in a comment opens nothing.
    let text = "timestamp,value\n# a,\"b\n2010-01-01,1\n#2010-01-02,2\n2010-01-03,3\n";
    assert_eq!(rows("m.csv", text, &Options::default()).len(), 2);
    // Below a column without a name, or in quotes, it may be a row.
    let (found, bad) = read("m.csv", ",timestamp,value\n#1,2010-01-01,5\n2,2010-01-02,6\n").unwrap();
    assert_eq!((found.len(), bad.len()), (1, 1));
    assert!(bad[0].starts_with("line 2: it begins with #"), "{bad:?}");
    let (found, bad) = read("m.csv", "value,timestamp\n\"#1\",2010-01-01\n").unwrap();
    assert!(found.is_empty() && bad[0].starts_with("line 2:") && bad[0].contains("`value`"), "{bad:?}");
    // Below a name of texts it is one.
    let found = rows("m.csv", "account_id,timestamp,value\n#acme,2010-01-01,5\n", &Options::default());
    assert!(found[0].starts_with("{\"account_id\":\"#acme\""), "{found:?}");
    // A name in quotes is a header's.
    assert_eq!(rows("m.csv", "\"#\",timestamp,value\n1,2010-01-01,5\n", &Options::default()).len(), 1);
}

#[test]
fn blanks_around_cells_are_no_part_of_them() {
    let found = rows("m.csv", "value,account_id\n1,acme\n1, acme \n", &Options::default());
    assert_eq!(found[0], found[1]);
}

#[test]
fn what_is_named_as_the_value_makes_metrics() {
    let columns = ColumnNames { value: Some("load".into()), ..ColumnNames::default() };
    let options = Options { columns, ..Options::default() };
    let expected = r#"{"event_type":"cpu","value":1.0,"metric_name":"m"}"#;
    assert_eq!(rows("m.csv", "event_type,load\ncpu,1\n", &options), [expected]);
}
