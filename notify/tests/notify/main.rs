//! Notifications from outside: what a file may say, and what arrives at providers that fail in every way they can.

mod mail;
mod providers;
mod restarts;
mod schema;
mod stage;
