//! One Apache Kafka broker for a whole run of tests: prints `host:port`, and ends when its standard
//! input does, that is with whoever started it.

use std::io::Read;

use anyhow::{Context, Result};
use kelly_harness::KafkaBroker;

fn main() -> Result<()> {
    let broker = KafkaBroker::start()?;
    print_address(broker.bootstrap());
    std::io::stdin().read_to_end(&mut Vec::new()).context("waiting for standard input to end")?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the address on standard output is this program's answer")]
fn print_address(address: &str) {
    println!("{address}");
}
