//! Against other people's servers: their own counters must agree with the generator's, exactly, whatever the mix.
//!
//! Needs `nginx`, `haproxy`, `mosquitto` and `openssl` in the path, Debian's `python3-websockets`, and for the reports
//! `chromium`.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "the whole target is a test: a panic is its way to fail"
)]

mod fleets;
mod haproxy;
mod mixes;
mod mosquitto;
mod nginx;
mod page;
mod process;
mod websockets;
