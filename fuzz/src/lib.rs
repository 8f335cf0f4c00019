//! What must hold for any input: one function a target, which panics when it does not.
//!
//! The same functions run under libFuzzer (`fuzz_targets/`, `make fuzz`), which looks for inputs by what they reach,
//! and in `tests/short`, which replays the corpus and changes its inputs at random, with nothing but plain `cargo test`.
//! They say more than "does not panic": what is accepted is within the limits, what is written down is read back
//! the same, what was said in a conversation does not stay.

mod arrow;
mod compressed;
mod decode;
mod live;
mod log_recovery;
mod metadata;
mod positions;
mod redaction;
mod tokens;
mod values;

pub use arrow::arrow;
pub use compressed::decompression;
pub use decode::{activities, body, metrics};
pub use live::{live_message, live_position};
pub use log_recovery::log_recovery;
pub use metadata::metadata;
pub use positions::{commit_metadata, cursor};
pub use redaction::redaction;
pub use tokens::token;
pub use values::{histogram, timestamp};

/// A target: its name, which is that of its program and of its corpus, and what it checks.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name.
    pub name: &'static str,
    /// Panics when something does not hold for the input.
    pub check: fn(&[u8]),
    /// Folders of `schemas/examples` whose files are inputs too.
    pub examples: &'static [&'static str],
    /// What one input costs, in inputs of the cheapest target: a run of all targets gives each the same time.
    pub cost: u32,
}

/// Every target.
pub const TARGETS: [Target; 15] = [
    Target { name: "metrics", check: metrics, examples: &["metrics", "refused/metrics"], cost: 5 },
    Target { name: "activities", check: activities, examples: &["activity", "refused/activity"], cost: 5 },
    Target { name: "arrow", check: arrow, examples: &[], cost: 20 },
    Target { name: "body", check: body, examples: &[], cost: 5 },
    Target { name: "metadata", check: metadata, examples: &[], cost: 5 },
    Target {
        name: "redaction",
        check: redaction,
        examples: &["refused/metrics", "refused/activity"],
        cost: 2,
    },
    Target { name: "timestamp", check: timestamp, examples: &[], cost: 2 },
    Target { name: "histogram", check: histogram, examples: &[], cost: 1 },
    Target { name: "cursor", check: cursor, examples: &[], cost: 1 },
    Target { name: "commit_metadata", check: commit_metadata, examples: &[], cost: 1 },
    Target { name: "token", check: token, examples: &[], cost: 10 },
    Target { name: "live_message", check: live_message, examples: &[], cost: 3 },
    Target { name: "live_position", check: live_position, examples: &[], cost: 2 },
    Target { name: "decompression", check: decompression, examples: &[], cost: 100 },
    Target { name: "log_recovery", check: log_recovery, examples: &[], cost: 2_500 },
];
