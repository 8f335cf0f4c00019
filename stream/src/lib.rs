//! The ordered log behind one port: Apache Kafka ([`kafka::KafkaLog`]) and a store of this process
//! ([`embedded::EmbeddedLog`]).
//!
//! What stands above uses only [`port`] and [`LogError`]; one conformance suite keeps the two
//! implementations from drifting apart.

pub mod allocator;
pub mod bounds;
pub mod embedded;
pub mod error;
pub mod kafka;
pub mod partitioner;
pub mod port;

pub use embedded::{EmbeddedConfig, EmbeddedLog, MIN_FREE_BYTES};
pub use error::LogError;
pub use kafka::{KafkaConfig, KafkaLog};
pub use port::*;
