//! What one question may ask for at most. At a bound the question is refused before the store is asked, with the
//! nearest question that is allowed.

/// Groups of one answer.
pub const MAX_TOP: u32 = 100;
/// Points of one group's series, not counting the cut ones at its ends; beyond, steps become longer.
pub(crate) const MAX_GROUP_POINTS: i64 = 60;

/// A question that asks for more than one answer holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` asks for {asked} {unit}, at most {allowed} are answered at once; {alternative}")]
pub struct TooLarge {
    /// The parameter that asks for too much.
    pub parameter: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How many were asked for.
    pub asked: u64,
    /// How many are allowed.
    pub allowed: u64,
    /// The nearest question that is allowed, as an order to the asker.
    pub alternative: String,
}

impl TooLarge {
    pub(crate) fn of_top(asked: u32) -> Self {
        Self {
            parameter: "top",
            unit: "groups",
            asked: asked.into(),
            allowed: MAX_TOP.into(),
            alternative: format!("ask with top={MAX_TOP}: `remainder` sums up the others"),
        }
    }
}
