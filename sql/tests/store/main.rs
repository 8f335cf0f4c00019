//! The store against the real engine: one process, a database for each test.

mod cut_off;
mod diagnosis;
mod evidence;
mod export;
mod following;
mod inserts;
mod kept;
mod letters;
mod migrations;
mod series;
mod storage;
mod support;
mod tiers;
