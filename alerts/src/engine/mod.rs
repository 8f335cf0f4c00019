//! Many rules and many entities.

mod core;
mod key;
#[cfg(test)]
mod model;
mod own_thresholds;
mod slots;

pub use core::{Engine, Record, Statistics};
pub use key::{RestoreFault, StateKey};
