//! What a row costs from the log's bytes to the blocks of a batch, by form: CPU time of this thread, the store
//! and the log left out.
//!
//!     cargo run --release -p kelly-ingest --example cost_of_a_row [-- json|arrow]

use anyhow::{Context, Result};
use kelly_ingest::{BatchBuilder, Nonce, Rules};
use kelly_schemas::decode::{ARROW_STREAM, ArrowMessage, Origin, Rendering};
use kelly_schemas::encode::{ArrowEncoder, NewMetric};
use kelly_schemas::{Limits, Stream};
use kelly_stream::Record;

const LOG_TIME_MS: i64 = 1_726_068_650_000;
const ROWS_A_MESSAGE: u64 = 8_000;
const MESSAGES: u64 = 30;
const ROUNDS: u64 = 8;
const NAMES: [&str; 6] =
    ["response_time", "ai_confidence", "safety_score", "messages", "claude_requests", "claude_cost"];

fn main() -> Result<()> {
    let wanted = std::env::args().nth(1);
    for (form, content_type) in [("json", None), ("arrow", Some(ARROW_STREAM))] {
        if wanted.as_deref().is_some_and(|wanted| wanted != form) {
            continue;
        }
        let messages: Vec<Vec<u8>> =
            (0..MESSAGES).map(|message| self::message(message, form)).collect::<Result<_>>()?;
        let rows = (ROUNDS * MESSAGES * ROWS_A_MESSAGE) as f64;
        if form == "arrow" {
            let begun = cpu_ns()?;
            (0..ROUNDS).for_each(|_| messages.iter().for_each(|message| decode(message)));
            tell(&format!("arrow, decoding alone: {:.0} ns a row", (cpu_ns()? - begun) / rows));
        }
        let begun = cpu_ns()?;
        for _ in 0..ROUNDS {
            build(&messages, content_type);
        }
        tell(&format!("{form}, decoding and blocks: {:.0} ns a row", (cpu_ns()? - begun) / rows));
    }
    Ok(())
}

fn decode(message: &[u8]) {
    let limits = Limits::default();
    let origin = Origin { partition: 0, offset: 0, log_time_ms: LOG_TIME_MS, limits: &limits };
    let message = ArrowMessage::read(message, &limits).ok();
    let mut sum = 0.0;
    for columns in message.iter().flat_map(ArrowMessage::batches) {
        columns.rows(&origin, &mut Rendering::none(), &mut |_, row| sum += row.map_or(0.0, |row| row.value));
    }
    std::hint::black_box(sum);
}

fn build(messages: &[Vec<u8>], content_type: Option<&str>) {
    let rules = Rules { limits: Limits::default(), raw_retention_ms: 72 * 3_600_000 };
    let mut builder = BatchBuilder::new(Stream::Metrics, 0, 0, rules);
    for (offset, payload) in (0..).zip(messages) {
        builder.push(&Record {
            topic: Stream::Metrics.topic(),
            partition: 0,
            offset,
            timestamp_ms: LOG_TIME_MS,
            key: None,
            payload,
            content_type,
        });
    }
    assert_eq!(builder.size().rows as u64, MESSAGES * ROWS_A_MESSAGE, "every row is good");
    std::hint::black_box(builder.close(None, Nonce::fresh(None)));
}

fn message(message: u64, form: &str) -> Result<Vec<u8>> {
    let (mut encoder, mut json) = (ArrowEncoder::default(), Vec::new());
    for number in message * ROWS_A_MESSAGE..(message + 1) * ROWS_A_MESSAGE {
        let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let conversation = (number / 12 * 7_919) % 5_000;
        let (account, conversation) =
            (format!("acct-{}", conversation % 200), format!("conv-{conversation}"));
        let (name, value) = (NAMES[(random % 6) as usize], (random % 100_000) as f64 / 1_000.0);
        let time = LOG_TIME_MS - (MESSAGES * ROWS_A_MESSAGE - number) as i64;
        encoder.push(&NewMetric {
            metric_name: name,
            value,
            timestamp_ms: Some(time),
            account_id: Some(&account),
            conversation_id: Some(&conversation),
            ..NewMetric::default()
        });
        json.push(serde_json::json!({
            "metric_name": name, "value": value, "timestamp": time, "account_id": account,
            "conversation_id": conversation,
        }));
    }
    match form {
        "json" => serde_json::to_vec(&json).context("writing JSON"),
        _ => encoder.finish().context("writing Arrow"),
    }
}

/// CPU time this thread has had: the first figure of its `schedstat`.
fn cpu_ns() -> Result<f64> {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").context("reading the CPU time")?;
    figures.split(' ').next().and_then(|figure| figure.parse().ok()).context("understanding the CPU time")
}

#[expect(clippy::print_stdout, reason = "the figures are this program's answer")]
fn tell(line: &str) {
    println!("{line}");
}
