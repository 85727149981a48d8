//! Fleetgate's gateway: a mutual-TLS terminating reverse proxy for fleets of certificate-bearing devices.
//!
//! ```text
//! device ──TCP──▶ listener ─▶ admission ─▶ handshake ─▶ identity ─▶ authorize ─▶ route ─▶ forward ─▶ upstream ──▶ backend
//!                  Accepted    Admitted     Handshaked   Identified   Permit       Routed
//!                                 │             │                        ▲
//!                                 │             └─ verify, cache         │ again after every handshake, full or resumed,
//!                               shed early      └─ tls, tickets          │ before one byte is served
//! ```
//!
//! Data flows one way. Each stage's output type has private fields and is made in its own stage only, so the next stage
//! cannot be called without it: forgetting to authorize does not compile. `connection.rs` is the whole of it in order.
//!
//! Each [`worker`] is one thread with one current-thread runtime, its own listening sockets and its own upstream pools;
//! workers share the snapshot of the configuration, the verified-chain cache and the metrics, and nothing else.

#![forbid(unsafe_code)]

pub mod access_log;
pub mod admin;
pub mod admission;
pub mod authorize;
pub mod cli;
pub mod clock;
pub mod config;
mod connection;
mod der;
pub mod drain;
pub mod fetch;
pub mod forward;
pub mod handshake;
pub mod headers;
pub mod identity;
pub mod limits;
pub mod listener;
pub mod live;
mod local;
pub mod metrics;
pub mod ocsp;
pub mod proxy_protocol;
pub mod rate;
pub mod refresh;
pub mod route;
pub mod serve;
pub mod server;
mod signed;
pub mod snapshot;
pub mod tls;
pub mod trace;
pub mod trust;
pub mod tunnel;
pub mod upstream;
pub mod verify;
pub mod watch;
pub mod worker;
