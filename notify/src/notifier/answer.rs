//! What became of a message.

use super::thread::Place;

/// What a provider's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has it. Where it keeps it, if that is told.
    Accepted(Option<Place>),
    /// Not now: it is tried again.
    Retry {
        /// Not before, if the provider says.
        after_ms: Option<u64>,
        /// What happened.
        problem: String,
        /// Whether the provider may have taken it all the same.
        is_unsure: bool,
    },
    /// It takes nothing at all for a while.
    Busy {
        /// Not before, if it says.
        after_ms: Option<u64>,
    },
    /// It does not know us, or has closed the door. Nothing more is sent until somebody mends that; a single message asks
    /// now and then whether it is mended.
    Ill(String),
    /// It is gone for good: nothing more is sent until somebody says so.
    Gone(String),
    /// It will never take this message.
    Refused(String),
    /// The message that was to be changed is not there any more.
    Lost,
}
