//! Runs of the load generator over real sockets, against a small mutual-TLS server in this process.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the whole target is a test: a panic is its way to fail"
)]

mod capacity;
mod command_line;
mod deploy;
mod devices;
mod executors;
mod exports;
mod fleets;
mod folders;
mod identities;
mod lateness;
mod merging;
mod models;
mod outcomes;
mod peers;
mod pki;
mod plans;
mod reports;
mod schema;
mod segments;
mod server;
mod truth;
mod upstream;
