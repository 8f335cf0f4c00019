//! The evaluator over a real log and a real control log: the same alerts, whatever ends it and whenever.

mod kills;
mod rules;
mod support;
mod usual;
