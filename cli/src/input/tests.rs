//! Files as people have them, read from disk: what goes in, what is asked for, what is left out.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use kelly_schemas::Limits;

use super::*;

/// What a file of this name with these bytes yields: rows as JSON, bad rows, or why it is refused.
fn read_with(name: &str, bytes: &[u8], options: &Options) -> Result<(Vec<String>, Vec<String>), String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let shown = format!("{}: ", path.display());
    let message = |error: anyhow::Error| {
        let usage = if error.is::<Usage>() { "usage: " } else { "" };
        format!("{usage}{error:#}").replace(&shown, "")
    };
    let source = Source::new(&path, options).map_err(message)?;
    let mut found = source.open().map_err(message)?;
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    while let Some(found) = found.next().map_err(message)? {
        match found {
            Found::Row(row) => {
                let json = row.json(row.at_ms);
                let now = row.at_ms.unwrap_or_default();
                match row.check(&json, now, &Limits::default()) {
                    Ok(_) => rows.push(String::from_utf8(json.into_owned()).unwrap()),
                    Err(fault) => bad.push(format!("{fault} ({})", fault.code)),
                }
            }
            Found::Bad(row) => bad.push(row.to_string()),
        }
    }
    Ok((rows, bad))
}

fn read(name: &str, text: &str) -> Result<(Vec<String>, Vec<String>), String> {
    read_with(name, text.as_bytes(), &Options::default())
}

/// The rows of a file in which nothing is wrong.
fn rows(name: &str, text: &str, options: &Options) -> Vec<String> {
    let (rows, bad) = read_with(name, text.as_bytes(), options).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(bad, Vec::<String>::new(), "{name}");
    rows
}

fn asked(name: &str, text: &str, options: &Options) -> String {
    let why = read_with(name, text.as_bytes(), options).expect_err(name);
    why.strip_prefix("usage: ").unwrap_or_else(|| panic!("no wrong usage: {why}")).to_owned()
}

fn time_column(name: &str) -> Options {
    Options {
        columns: ColumnNames { time: Some(name.into()), ..ColumnNames::default() },
        ..Options::default()
    }
}

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
fn other_programs_files_are_recognised() {
    let otel = r#"{"resourceMetrics":[{"scopeMetrics":[]}]}"#;
    for name in ["a.json", "a.ndjson"] {
        assert!(asked(name, otel, &Options::default()).contains("OpenTelemetry metrics"), "{name}");
    }
    for trace in [
        r#"{"trace_id":"1","spans":[]}"#,
        r#"{"resourceSpans":[]}"#,
        r#"{"model":"x","messages":[{"role":"user"}]}"#,
        r#"{"id":"1","run_type":"llm","inputs":{}}"#,
    ] {
        assert!(
            asked("a.jsonl", trace, &Options::default()).contains("a trace of a language model"),
            "{trace}"
        );
    }
    let influx = "#group,false,false,true,false,true\n#datatype,string,long,dateTime:RFC3339,double,string\n\
                  #default,_result,,,,\n,result,table,_time,_value,_field\n,,0,2010-01-01T00:00:00Z,1.5,cpu\n";
    assert!(asked("a.csv", influx, &Options::default()).contains("InfluxDB's annotated CSV"));
    let columns = ColumnNames {
        time: Some("_time".into()),
        value: Some("_value".into()),
        metric: Some("_field".into()),
    };
    let options = Options { columns, ..Options::default() };
    let expected = r#"{"table":"0","timestamp":1262304000000,"value":1.5,"metric_name":"cpu"}"#;
    assert_eq!(rows("a.csv", influx, &options), [expected]);
    let again = format!("{influx}\n{influx}");
    assert_eq!(rows("a.csv", &again, &options), [expected; 2]);
    let other =
        format!("{influx}\n#group,false\n,result,_value,_time,_field,x\n,,2010-01-01T00:00:00Z,1.5,cpu,1\n");
    assert!(
        read_with("a.csv", other.as_bytes(), &options)
            .unwrap_err()
            .contains("another table begins on line 8")
    );
}

#[test]
fn compressed_files_are_read() {
    let text = "timestamp,value\n2010-01-01,1.5\n";
    let expected = vec![r#"{"timestamp":1262304000000,"value":1.5,"metric_name":"m"}"#.to_owned()];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, bytes) in [("m.csv.gz", &gzip), ("m.csv", &gzip), ("m.csv.zst", &zstd), ("m.csv.zstd", &zstd)]
    {
        assert_eq!(read_with(name, bytes, &Options::default()), Ok((expected.clone(), vec![])), "{name}");
    }
    for (name, bytes) in [("m.csv.gz", &gzip), ("m.csv.zst", &zstd)] {
        let cut = &bytes[..bytes.len() - 6];
        assert!(read_with(name, cut, &Options::default()).is_err(), "{name} is cut off");
    }
}

fn table() -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("timestamp", Arc::new(TimestampMillisecondArray::from(vec![Some(17), None]).with_timezone("UTC"))),
        ("metric_name", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("value", Arc::new(Float64Array::from(vec![0.1, 1e130]))),
        ("shard", Arc::new(Int64Array::from(vec![None, Some(7)]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

const TABLE_ROWS: [&str; 2] =
    [r#"{"timestamp":17,"metric_name":"a","value":0.1}"#, r#"{"metric_name":"b","value":1e+130,"shard":7}"#];

fn arrow_stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn tables_of_arrow_and_parquet_are_read() {
    let batch = table();
    let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    let file = file.into_inner().unwrap();
    let mut parquet = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let parquet = parquet.into_inner().unwrap();
    for (name, bytes) in [
        ("a.arrow", arrow_stream(&batch, None)),
        ("a.arrow", arrow_stream(&batch, Some(CompressionType::LZ4_FRAME))),
        ("a.arrows", arrow_stream(&batch, Some(CompressionType::ZSTD))),
        ("a.feather", file),
        ("a.parquet.zst", zstd::encode_all(&parquet[..], 1).unwrap()),
        ("a.parquet", parquet),
    ] {
        let (rows, bad) = read_with(name, &bytes, &Options::default()).unwrap();
        assert_eq!((rows, bad), (TABLE_ROWS.map(str::to_owned).to_vec(), vec![]), "{name}");
    }
}

#[test]
fn a_stream_that_lies_about_itself_is_refused() {
    let good = arrow_stream(&table(), Some(CompressionType::LZ4_FRAME));
    for cut in [1, 8, 40, good.len() / 2, good.len() - 20] {
        assert!(read_with("a.arrow", &good[..cut], &Options::default()).is_err(), "cut at {cut}");
    }
    // Whatever byte is changed, it is read or refused, and nothing is reserved that is not there.
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0xff;
        let _ = read_with("a.arrow", &changed, &Options::default());
    }
}

#[test]
fn only_a_plain_stream_of_known_columns_is_sent_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let batch = table();
    let known = batch.project(&[0, 1, 2]).unwrap();
    let path = directory.path().join("a.arrow");
    let is_sendable = |bytes: Vec<u8>, options: &Options| {
        std::fs::write(&path, bytes).unwrap();
        Source::new(&path, options).unwrap().is_sendable_arrow().unwrap()
    };
    assert!(is_sendable(arrow_stream(&known, None), &Options::default()));
    assert!(!is_sendable(arrow_stream(&known, Some(CompressionType::ZSTD)), &Options::default()));
    assert!(!is_sendable(arrow_stream(&batch, None), &Options::default()), "a column is unknown");
    let options = Options { account: Some("a".into()), ..Options::default() };
    assert!(!is_sendable(arrow_stream(&known, None), &options));
}

#[test]
fn kellys_own_exports_come_out_as_they_were() {
    let csv = "\"timestamp\",\"metric_name\",\"metric_type\",\"value\",\"account_id\",\"conversation_id\",\"user_id\",\"metadata\"\n\
               \"2010-01-01T00:00:00.000Z\",\"m\",\"gauge\",0.1,\"'+49 1\",\" a \",\"''=b\",\"{\"\"z\"\":1.10}\"\n";
    assert_eq!(
        rows("m.csv", csv, &Options::default()),
        [
            r#"{"timestamp":1262304000000,"metric_name":"m","metric_type":"gauge","value":0.1,"account_id":"+49 1","conversation_id":" a ","user_id":"'=b","metadata":{"z":1.10}}"#
        ]
    );
    let jsonl = r#"{"timestamp":"2010-01-01T00:00:00.000Z","metric_name":"m","metric_type":"gauge","value":0.1,"account_id":"","conversation_id":"","user_id":"","metadata":"{\"z\":1.10}"}
{"timestamp":"2010-01-01T00:00:00.000Z","metric_name":"m","metric_type":"gauge","value":0.1,"account_id":"","conversation_id":"","user_id":"","metadata":""}"#;
    let found = rows("m.jsonl", jsonl, &Options::default());
    assert!(
        found[0].ends_with(r#""metadata":{"z":1.10}}"#) && found[1].ends_with(r#""metadata":null}"#),
        "{found:?}"
    );
    let event = r#"{"id":"01926d6a-8a00-7000-8000-000000000001","created_at":"2010-01-01T00:00:00.000Z","event_type":"e","title":"t","description":"","account_id":"","conversation_id":"","user_id":"","severity":"low","category":"general","is_vip":0,"metadata":""}"#;
    let found = rows("e.jsonl", event, &Options::default());
    assert!(!found[0].contains("is_vip"), "{found:?}");
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
fn no_sentence_is_shown() {
    let sung = "the canary sang";
    let lines = [
        format!("\"{sung}\""),
        format!("{{\"value\":\"{sung}\",\"timestamp\":\"{sung}\"}}"),
        format!("[\"{sung}\"]"),
        format!("{{\"value\":\"{sung}\" \"{sung}\"}}"),
    ];
    let (found, bad) = read("m.ndjson", &lines.join("\n")).unwrap();
    assert_eq!((found.len(), bad.len()), (0, lines.len()));
    let text = format!(
        "timestamp,value,metadata\n{sung},1,\n0,{sung},\n0,1,\"\"\"{sung}\"\"\"\n0,1,{sung}\n\"{sung}\"x,1\n"
    );
    let (found, more) = read("m.csv", &text).unwrap();
    assert_eq!((found.len(), more.len()), (0, 5));
    assert!(bad.iter().chain(&more).all(|message| !message.contains("canary")), "{bad:?} {more:?}");
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
fn absent_and_unnamed_files_are_refused() {
    let message = format!("{:#}", Source::new(Path::new("absent.csv"), &Options::default()).unwrap_err());
    assert!(message.starts_with("opening absent.csv"), "{message}");
    assert!(asked("a.xls", "x", &Options::default()).contains("say it with --format"));
    let options = Options { format: Some(Format::Csv), ..Options::default() };
    assert_eq!(rows("a.xls", "value\n1\n", &options).len(), 1);
}
