//! What tests need of the outside world: a real Kafka, a real engine, ports and names of their own.
//! For development only; nothing of the product depends on it.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub mod balancer;
pub mod chance;
pub mod chaos;
pub mod engine;
pub mod kafka;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod sign_in;
pub mod truth;

pub use engine::{Engine, TestDatabase, query};
pub use kafka::{BrokerOptions, KafkaBroker};

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Panics
/// When the machine has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of 127.0.0.1 to listen on");
    listener.local_addr().expect("the address of a bound listener").port()
}

/// A name nobody else uses: for topics, groups and databases of one test.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    format!("{prefix}-{}-{now}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
