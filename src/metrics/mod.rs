//! Metrics of Kelly itself, for Prometheus: the catalogue of all of them, what counts requests, limits and recordings, and how
//! they are written. What other parts count anyway is read where they count it (`roles/own_metrics.rs`).

pub mod catalogue;
mod counted;
mod exposition;
mod process;
mod requests;

pub use counted::{Recorded, RefusedUses};
pub use exposition::{Gathered, Value};
pub use process::{Processes, Readings};
pub use requests::RequestMetrics;
