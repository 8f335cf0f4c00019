//! Questions against the real engine, compared with answers worked out from the samples themselves.

mod alert_history;
mod backtests;
mod compare;
mod events;
mod fixture;
mod groups;
mod kept;
mod limited;
mod previews;
mod reading;
mod samples;
mod series;
mod whole;
