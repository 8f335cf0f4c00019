//! The store against the real engine: one process, a database for each test.

mod inserts;
mod migrations;
mod storage;
mod support;
