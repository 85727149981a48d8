//! `cargo lab`: the laboratory in which Fleetgate is shown and measured.
//!
//! ```text
//! cli ─▶ demo ────▶ report, page        what a newcomer sees first
//!     ├▶ compare ─▶ report, page        the same work against nginx, HAProxy and Envoy
//!     ├▶ revocation ─▶ report, page     what it costs to turn devices away, and how soon it happens
//!     └▶ continuity ─▶ report           whether reloads and a restart lose anything
//!            │
//!          child: gateway, upstream, peers     processes of their own, so that their CPU is measured apart
//! ```
//!
//! The laboratory performs and reports; what a handshake costs is for the gateway to decide, and how load is made and
//! judged is loadgen's business.

mod admin;
mod build_profile;
mod child;
mod cli;
mod compare;
mod continuity;
mod cores;
mod counts;
mod demo;
mod exposition;
mod fleet;
mod gateway_process;
mod number;
mod order;
mod output;
mod page;
mod revocation;
mod role;
mod session;
mod signals;
mod statistics;
mod table;
mod upstream_process;

// The gateway under test runs inside this program: it must have the allocator that it ships with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
