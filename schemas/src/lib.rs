//! The contract of Kelly: what producers may send, how it is read, and what its names mean.
//!
//! Pure: no I/O, no clock. Whatever depends on time is relative to the log's time of the record, so
//! that a replay decodes to the very same rows.
//!
//! - [`decode`] reads messages of the log and bodies of HTTP into [`Metric`]s and [`Activity`]s, or says with a
//!   [`Fault`] why a row is refused;
//! - [`catalogue`] knows the metrics by name, [`overview`] the figures of the overview;
//! - [`ids`] and [`histogram`] are the formulas that ingest and SQL must agree on.

pub mod activity;
pub mod catalogue;
pub mod check;
pub mod decode;
mod definition;
pub mod encode;
mod error_chain;
pub mod fault;
pub mod histogram;
pub mod ids;
mod json_kind;
pub mod limits;
pub mod metric;
pub mod overview;
pub mod streams;
pub mod thresholds;

pub use activity::{Activity, Severity};
pub use catalogue::{Catalogue, Definition};
pub use error_chain::error_chain;
pub use fault::{Fault, Reject};
pub use limits::Limits;
pub use metric::Metric;
pub use streams::{INGEST_GROUP, Stream, UnknownTopic};
