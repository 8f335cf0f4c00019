//! Exports as CSV in the hands of those who read them: data frames, which guess each column's type.

use std::path::Path;

use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start, run};
use crate::python;
use crate::tools::{BASE, QUIET};

/// Of every magnitude, whole ones first and among them such as fit no integer.
fn values() -> Vec<f64> {
    let two: f64 = 2.0;
    let whole = [
        0.0,
        -1.0,
        5.0,
        two.powi(53),
        two.powi(63),
        two.powi(64),
        -two.powi(63),
        -two.powi(64),
        1e19,
        123_456_789e12,
    ];
    let ten_to = |exponent: i32| format!("1e{exponent}").parse::<f64>().expect("a float");
    let large = (20..=130).step_by(10).map(ten_to).chain([1e21, 1e22, -1e130]);
    let small = [0.1 + 0.2, 1.0 / 3.0, -2.5e-7, 1e-300, f64::MIN_POSITIVE, 5e-324];
    whole.into_iter().chain(large).chain(small).collect()
}

/// The columns of a file as each of the readers has them.
fn read(place: &Path, columns: &[&str]) -> Vec<(String, Value)> {
    let arguments = [&[place.to_str().expect("a plain path")], columns].concat();
    let answer = python::run("tests/e2e/data_frames.py", &arguments);
    let answer: Value = serde_json::from_str(&answer).expect("the readers' answer");
    answer
        .as_object()
        .expect("readers")
        .iter()
        .map(|(reader, columns)| (reader.clone(), columns.clone()))
        .collect()
}

/// The values of a column; panics where the reader took it for anything but floats.
fn floats(column: &Value, what: &str) -> Vec<Option<f64>> {
    let kind = column["type"].as_str().expect("a type");
    assert!(kind.starts_with("float") || kind == "double", "{what} is read as {kind}");
    let float = |value: &Value| value.as_str().map(|text| text.parse().expect("a float"));
    column["values"].as_array().expect("values").iter().map(float).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_float_is_read_as_the_float_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    let values = values();
    let now = chrono::Utc::now().timestamp_millis();
    let rows: Vec<Value> = (0..)
        .zip(&values)
        .map(|(index, value)| {
            json!({
                "metric_name": "floats", "value": value, "account_id": format!("a{index:02}"),
                "timestamp": now - 3_000_000 + index * 60_000,
            })
        })
        .collect();
    let (status, answer) =
        kelly.post(&format!("{BASE}/metrics/record"), &json!(rows)).await.expect("an answer");
    assert_eq!(status, 202, "{answer}");
    let detailed = format!("{BASE}/metrics/detailed/floats?timeframe=1h");
    let series = until(&kelly, &detailed, |answer| answer["sample_count"] == values.len()).await;

    let samples = directory.path().join("samples.csv");
    std::fs::write(
        &samples,
        kelly.text(&format!("{BASE}/metrics/samples/floats?timeframe=1h&format=csv")).await,
    )
    .expect("the directory is ours");
    for (reader, columns) in read(&samples, &["value"]) {
        let found = floats(&columns["value"], &format!("value of {reader}"));
        assert_eq!(found, values.iter().copied().map(Some).collect::<Vec<_>>(), "{reader}");
    }

    let points = directory.path().join("points.csv");
    std::fs::write(&points, kelly.text(&format!("{detailed}&format=csv")).await)
        .expect("the directory is ours");
    let names = ["value", "min", "max"];
    for (reader, columns) in read(&points, &names) {
        for name in names {
            let found = floats(&columns[name], &format!("{name} of {reader}"));
            let points = series["historical_data"].as_array().expect("points");
            let answered: Vec<Option<f64>> = points.iter().map(|point| point[name].as_f64()).collect();
            assert_eq!(found, answered, "{name} of {reader}");
        }
    }

    let groups = directory.path().join("groups.csv");
    let place = groups.to_str().expect("a plain path");
    let data = directory.path().to_str().expect("a plain path");
    let arguments = [
        "drilldown",
        "floats",
        "--timeframe",
        "1h",
        "--top",
        "100",
        "-o",
        place,
        "--server",
        &kelly.url,
        "--data",
        data,
    ];
    let (code, _, errors) = run(&arguments, &QUIET, Path::new(data));
    assert_eq!(code, Some(0), "{errors}");
    let names = ["value", "sum", "mean", "min", "max"];
    let mut wanted: Vec<f64> = values.clone();
    wanted.sort_by(f64::total_cmp);
    for (reader, columns) in read(&groups, &names) {
        for name in names {
            let mut found: Vec<f64> =
                floats(&columns[name], &format!("{name} of {reader}")).into_iter().flatten().collect();
            found.sort_by(f64::total_cmp);
            assert_eq!(found, wanted, "{name} of {reader}");
        }
    }
    assert_eq!(kelly.terminate(), Some(0));
}
