//! The promises of the service, checked from outside: the real binary is started, and spoken to over HTTP alone.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and stops")]

#[allow(dead_code, unused_imports, reason = "the benches use the rest of it")]
#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod archives;
mod async_scan;
mod avatar_upload_example;
mod bad_json;
mod bad_multipart;
mod bad_webhook_urls;
mod clamd;
mod command_line;
mod deduplication;
mod deletion;
mod deliveries;
mod delivery_list;
mod documents;
mod drain;
mod durability;
mod events;
mod health;
mod idempotency;
mod listen;
mod lists;
mod openapi;
mod overload;
mod passwords;
mod picture_models;
mod pictures;
mod quota;
mod rate;
mod receive;
mod rules;
mod rules_command;
mod sdk_client;
mod secrets;
mod startup;
mod sync_scan;
mod upload_urls;
mod url_scans;
mod verdict_updates;
