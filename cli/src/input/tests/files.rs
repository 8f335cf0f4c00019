//! Files as a whole: compressed, of another program, of Kelly, read once.

use std::io::Write;

use super::tables::{TABLE_ROWS, arrow_stream, table};
use super::*;

#[test]
fn compressed_files_are_read() {
    let text = "timestamp,value\n2010-01-01,1.5\n";
    let expected = vec![r#"{"timestamp":1262304000000,"value":1.5,"metric_name":"m"}"#.to_owned()];
    let gzip_of = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let gzip = gzip_of(text.as_bytes());
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let padded = [&gzip[..], &[0; 100_000]].concat();
    let members = [gzip_of(&text.as_bytes()[..20]), gzip_of(&text.as_bytes()[20..])].concat();
    for (name, bytes) in [
        ("m.csv.gz", &gzip),
        ("m.csv", &gzip),
        ("m.csv.gz", &padded),
        ("m.csv.gz", &members),
        ("m.csv.zst", &zstd),
        ("m.csv.zstd", &zstd),
    ] {
        assert_eq!(read_with(name, bytes, &Options::default()), Ok((expected.clone(), vec![])), "{name}");
    }
    let trailed = [&gzip[..], b"more"].concat();
    assert!(read_with("m.csv.gz", &trailed, &Options::default()).is_err(), "what follows is no member");
    for (name, bytes) in [("m.csv.gz", &gzip), ("m.csv.zst", &zstd)] {
        let cut = &bytes[..bytes.len() - 6];
        assert!(read_with(name, cut, &Options::default()).is_err(), "{name} is cut off");
    }
    let row = TABLE_ROWS[0].as_bytes();
    for (name, bytes, rows) in [
        ("m.ndjson.gz", gzip_of(row), &TABLE_ROWS[..1]),
        ("m.json.zst", zstd::encode_all(row, 1).unwrap(), &TABLE_ROWS[..1]),
        ("m.arrow.gz", gzip_of(&arrow_stream(&table(), None)), &TABLE_ROWS[..]),
    ] {
        let (found, bad) = read_with(name, &bytes, &Options::default()).unwrap();
        assert_eq!((found, bad.len()), (rows.iter().map(|row| (*row).to_owned()).collect(), 0), "{name}");
    }
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
fn absent_and_unnamed_files_are_refused() {
    let message = format!("{:#}", Source::new(Path::new("absent.csv"), &Options::default()).unwrap_err());
    assert!(message.starts_with("opening absent.csv"), "{message}");
    assert!(asked("a.xls", "x", &Options::default()).contains("say it with --format"));
    let options = Options { format: Some(Format::Csv), ..Options::default() };
    assert_eq!(rows("a.xls", "value\n1\n", &options).len(), 1);
}

/// What comes through a pipe of this name.
fn through_a_pipe(name: &str, bytes: &[u8], options: &Options) -> anyhow::Result<Vec<Found>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    let source = Source::new(&path, options)?;
    assert!(source.is_read_once() && source.bytes().is_none() && !source.is_sendable_arrow()?);
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| std::fs::write(&path, bytes));
        let found =
            source.open().and_then(|mut rows| std::iter::from_fn(|| rows.next().transpose()).collect());
        writer.join().expect("the writer ends")?;
        found
    })
}

#[test]
fn what_can_be_read_only_once_is_read_from_its_first_byte() {
    let lines: String = (0..3).map(|n| format!("{{\"metric_name\":\"m\",\"value\":{n}}}\n")).collect();
    let rows = through_a_pipe("m.ndjson", lines.as_bytes(), &Options::default()).unwrap();
    assert!(rows.len() == 3 && rows.iter().all(|found| matches!(found, Found::Row(_))), "{rows:?}");
    let batch = table();
    let mut parquet = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let parquet = parquet.into_inner().unwrap();
    assert_eq!(through_a_pipe("m.parquet", &parquet, &Options::default()).unwrap().len(), 2);
}

#[test]
fn the_name_of_a_pipe_is_no_metric() {
    let why = through_a_pipe("cpu.csv", b"timestamp,value\n2010-01-01,1\n", &Options::default()).unwrap_err();
    let why = why.downcast::<Usage>().unwrap().to_string();
    assert!(why.contains("no column names the metric: say --metric NAME"), "{why}");
    let stdin = Source::new(Path::new(STDIN), &Options::default()).unwrap();
    assert!(stdin.is_read_once() && stdin.options.file_stem.is_none());
}
