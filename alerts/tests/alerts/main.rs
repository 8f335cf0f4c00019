//! The engine from outside: each kind of rule on small histories, files of rules and their schema, time and restarts.

mod anomalies;
mod backtests;
mod composites;
mod flapping;
mod history;
mod kinds;
mod lives;
mod own_thresholds;
mod reload;
mod robust;
mod schema;
