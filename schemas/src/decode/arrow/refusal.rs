//! Why an Arrow stream is refused.

use crate::fault::Fault;

/// Why a stream is refused, and what is known of its columns.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) columns: Vec<(String, String)>,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, columns: Vec::new() }
    }
}

/// A fault of the stream itself.
pub(super) fn invalid(what: impl Into<String>) -> Fault {
    Fault::InvalidArrow { what: what.into() }
}
