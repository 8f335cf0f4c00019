//! A directory of this machine that one process uses: who holds it ([`Lock`]), whether it is still the one that was
//! opened ([`Identity`]), and how much room its disk has ([`Space`]).
//!
//! The data directory, the embedded log and the embedded engine each use all three. Calls block, for a moment or, when a
//! killed process has not ended yet, up to [`ENDING_DEADLINE`].

mod identity;
mod lock;
mod process;
mod space;

pub use identity::{Identity, Removed};
pub use lock::{ENDING_DEADLINE, Lock, LockError, holder};
pub use space::Space;
