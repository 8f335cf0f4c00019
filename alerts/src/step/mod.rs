//! What decides, for one rule and one entity: [`step`].

mod due;
mod explanation;
mod life;
mod machine;
mod reading;
mod state;
mod told;

pub use due::next_due;
pub use machine::{After, Around, Input, News, Row, step};
pub use state::{Open, OwnValue, State};
