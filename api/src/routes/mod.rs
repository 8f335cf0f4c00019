//! The routes by resource.

pub(crate) mod access;
pub(crate) mod activity;
pub(crate) mod alerts;
pub(crate) mod export;
pub(crate) mod grouping;
pub(crate) mod health;
pub(crate) mod json_body;
pub(crate) mod live;
pub(crate) mod log_levels;
pub(crate) mod metrics;
pub(crate) mod notifications;
pub(crate) mod own_metrics;
pub(crate) mod performance;
pub(crate) mod problems;
pub(crate) mod question;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod rule_preview;
pub(crate) mod several;
pub(crate) mod sign_in;
pub(crate) mod start_page;
