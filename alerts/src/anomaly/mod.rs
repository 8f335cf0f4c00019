//! What is usual for a series, and how much a value surprises.

mod baseline;
mod rarity;
mod surprise;
mod table;

pub use baseline::Baseline;
pub use surprise::{Aspect, Habit, Surprise};

/// A surprise that is a warning, if a rule says nothing else: of a series in which nothing happens about one value in five
/// thousand. From 6.2 on, about one in a thousand, more that happens is told, and more that did not.
pub const WARNING: f64 = 7.5;

/// A surprise that is critical, if a rule says nothing else.
pub const CRITICAL: f64 = 10.0;
