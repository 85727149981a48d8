//! Why a run cannot be made, in words that name what to change.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::shard::Fatal;
use crate::fleet::FleetError;
use crate::measure::outcome::{NO_APPLICATION_PROTOCOL, ServerFault};
use crate::measure::{Cause, LocalCause};
use crate::plan::SourceAddresses;
use crate::plan::{PartError, Plan, Segment, StartAt};

/// Why a run cannot be made.
#[derive(Debug, Error)]
pub enum RunError {
    /// The folder of certificates.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The target's name does not resolve.
    #[error(
        "cannot resolve `{host}` of --target: {source}; use --connect-to ADDRESS:PORT to say where it is"
    )]
    Unresolved {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No scenario has answers that could tell.
    #[error(
        "--verify-identity looks into answers over HTTP, and no scenario speaks that: leave it out or change --protocol"
    )]
    NothingEchoed,
    /// The target's name cannot stand in a certificate.
    #[error("`{0}` of --target is neither a DNS name nor an IP address")]
    ServerName(String),
    /// A scenario's part of the fleet.
    #[error(transparent)]
    Part(#[from] PartError),
    /// Nothing is left for this segment to do.
    #[error(
        "--segment {segment}: scenario `{scenario}` has fewer {what} than there are machines, so that this one has none"
    )]
    EmptySegment {
        /// The segment.
        segment: Segment,
        /// The scenario.
        scenario: String,
        /// What there is too little of.
        what: &'static str,
    },
    /// The load cannot begin when it should.
    #[error(
        "--start-at {at} had passed {} before the devices were ready: choose a later time, no load was made",
        humantime::format_duration(*late)
    )]
    Late {
        /// When it should have begun.
        at: StartAt,
        /// How long ago that was, in whole milliseconds.
        late: Duration,
    },
    /// More connections than descriptors.
    #[error(
        "the plan needs {needed} connections at a time and this process may have {limit} descriptors: \
         lower --devices, --connections or --max-in-flight, or raise the hard limit (`ulimit -Hn`)"
    )]
    TooManyConnections {
        /// Connections at a time.
        needed: usize,
        /// The hard limit.
        limit: u64,
    },
    /// A watched process.
    #[error("--watch-pid {pid}: its figures cannot be read, is there such a process? ({source})")]
    WatchedProcess {
        /// Its id.
        pid: u32,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The TLS library does not take the plan.
    #[error("the TLS library refuses the plan: {0}; check --tls and --groups")]
    Tls(rustls::Error),
    /// Nobody listens.
    #[error("nobody listens on {0}: start the server, or correct --target or --connect-to")]
    NobodyListens(SocketAddr),
    /// No way there.
    #[error("{0} cannot be reached: check --target, --connect-to and the route to it")]
    Unreachable(SocketAddr),
    /// The server's certificate does not verify.
    #[error(
        "the certificate of {address} does not verify against the trust anchors of {trust}, or is not for `{host}`: \
         check --pki or --ca, and the host in --target (with --connect-to the two may differ)"
    )]
    ServerCertificate {
        /// The server.
        address: SocketAddr,
        /// The host name.
        host: String,
        /// Whence the trust anchors are.
        trust: String,
    },
    /// The server does not speak the chosen protocol.
    #[error("{0} did not choose the offered protocol (ALPN): check --protocol")]
    Alpn(SocketAddr),
    /// The server does not speak TLS, or not this version.
    #[error("{0} answers, but not with TLS as offered: check --target's port, --tls and --groups")]
    NotTls(SocketAddr),
    /// Source addresses of one family, a server of the other.
    #[error("--source-ips {sources} cannot reach {address}: one is IPv4 and the other IPv6")]
    SourceFamily {
        /// The source addresses.
        sources: SourceAddresses,
        /// The server.
        address: SocketAddr,
    },
    /// This machine refused the first connection.
    #[error(
        "this machine could not open the first connection: it lacks {0}; check --source-ips and `ulimit -n`"
    )]
    Local(&'static str),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A runtime could not be started.
    #[error("cannot start a runtime: {0}")]
    Runtime(io::Error),
    /// A shard, or a part of it, ended before its time.
    #[error(
        "a shard failed, and what it had to do is missing, so there is no result; this is a defect of loadgen, please report it with \
         the lines above"
    )]
    ShardDied,
}

impl RunError {
    pub(crate) fn from_fatal(fatal: Fatal, address: SocketAddr, plan: &Plan) -> RunError {
        match fatal {
            Fatal::Io(error) => RunError::Runtime(error),
            Fatal::Renewal(error) => RunError::Fleet(error),
            Fatal::Panicked => RunError::ShardDied,
            Fatal::First(Cause::ConnectRefused) => RunError::NobodyListens(address),
            Fatal::First(Cause::RefusedServer(ServerFault::Certificate)) => {
                RunError::ServerCertificate {
                    address,
                    host: plan.target.host.clone(),
                    trust: plan.fleet.trust_source().display().to_string(),
                }
            }
            Fatal::First(
                Cause::RefusedServer(ServerFault::Alpn) | Cause::Refused(NO_APPLICATION_PROTOCOL),
            ) => RunError::Alpn(address),
            Fatal::First(Cause::RefusedServer(ServerFault::Tls) | Cause::Refused(_)) => {
                RunError::NotTls(address)
            }
            Fatal::First(Cause::Local(LocalCause::Descriptors)) => {
                RunError::Local("file descriptors")
            }
            Fatal::First(Cause::Local(LocalCause::Addresses)) => {
                RunError::Local("that local address or a free port")
            }
            Fatal::First(Cause::Local(_)) => RunError::Local("memory or permission"),
            Fatal::First(_) => RunError::Unreachable(address),
        }
    }
}
