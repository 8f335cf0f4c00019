//! Both logs, tried from outside: one suite for what they share, one for what each alone can meet.

mod conformance;
mod damaged;
mod deleted;
mod errors;
mod kafka;
mod recovery;
mod retention;
mod support;
