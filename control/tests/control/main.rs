//! Replicas over both logs, and what is written into a real store.

mod replicas;
mod store;
mod support;
mod trouble;
