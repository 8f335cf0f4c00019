//! End to end: the real binary, the real engine, real Apache Kafka. Every test owns its directory,
//! its ports and, where it needs one, its broker.

mod alerts;
mod apart;
mod broker_faults;
mod browser;
mod collector;
mod command_line;
mod contract;
mod data_frames;
mod directories;
mod doctor;
mod encrypted;
mod files;
mod first_minutes;
mod frozen_engine;
mod groups;
mod handling_alerts;
mod instances;
mod kept;
mod kills;
mod live;
mod log_levels;
mod notifications;
mod other_producers;
mod own_metrics;
mod python;
mod reading;
mod real_series;
mod rights;
mod roles_apart;
mod rules;
mod sign_in;
mod tools;
mod traces;
mod up;

use kelly_harness::process as kelly_process;
