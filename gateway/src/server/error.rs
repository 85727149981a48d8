//! Why the gateway does not start, or does not reload: every reason in words that name what to change.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::snapshot::BuildError;

/// Why the gateway does not start, or does not reload.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The configuration is wrong.
    #[error("{}", list(.0))]
    Config(Vec<ConfigError>),
    /// The configuration names something that cannot be used.
    #[error("{}", list(.0))]
    Build(Vec<BuildError>),
    /// The file with the administrator's orders cannot be used.
    #[error("admin.revocations_file: {0}")]
    Orders(String),
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {error}")]
    Bind {
        /// The configuration key.
        key: String,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// Sockets that a service manager passes cannot be used.
    #[error("LISTEN_FDS: {0}")]
    Activation(String),
    /// Nobody to take over from, or nowhere to be taken over from.
    #[error("server.handover_socket: {0}")]
    Handover(String),
    /// A reload that would change what is bound.
    #[error(
        "{0} cannot change while the gateway runs; restart it, with --take-over if no connection may be lost"
    )]
    NeedsRestart(&'static str),
    /// The operating system refuses a thread or a runtime, or has no randomness.
    #[error("cannot start: {0}")]
    System(String),
}

fn list<E: std::fmt::Display>(errors: &[E]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl ServerError {
    /// Whether the operator's configuration is at fault, rather than the machine.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Config(_)
                | Self::Build(_)
                | Self::Orders(_)
                | Self::NeedsRestart(_)
        )
    }
}
