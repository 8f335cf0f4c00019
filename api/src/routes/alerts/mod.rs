//! Alerts: which there are, what people do about them, and what is said about many of them at once.

pub(crate) mod acts;
pub(crate) mod bulk;
pub(crate) mod commands;
pub(crate) mod incidents;
pub(crate) mod ingest;
pub(crate) mod list;
pub(crate) mod noise;
pub(crate) mod one;
pub(crate) mod policies;
pub(crate) mod rules;
pub(crate) mod silences;
mod visible;
mod words;
