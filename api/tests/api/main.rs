//! The API over fakes of its ports, request by request.

mod agreement;
mod alerts;
mod answers;
mod compression;
mod contract;
mod decisions;
mod errors;
mod examples;
mod exports;
mod health;
mod limits;
mod live;
mod notifications;
mod openapi;
mod pages;
mod queries;
mod reading;
mod record;
mod replica;
mod rights;
mod rule_previews;
mod sign_in;
mod socket;
mod socket_memory;
mod support;
