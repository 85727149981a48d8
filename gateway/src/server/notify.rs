//! Tells a service manager what the process is doing: sd_notify(3), over the socket that `NOTIFY_SOCKET` names.
//!
//! Nothing depends on whether anybody listens: what cannot be sent is not.

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::clock;

/// A service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    at: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// The one that started this process.
    pub fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        let at = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        if let Err(error) = &at {
            tracing::warn!(%error, "the service manager is not told anything: NOTIFY_SOCKET cannot be used");
        }
        Self { at: at.ok() }
    }

    /// The process serves, with the configuration in force.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving");
    }

    /// The configuration is being reloaded; [`ServiceManager::ready`] is to follow, whether it worked or not.
    pub fn reloading(&self) {
        let now = clock::monotonic_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// The process ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Draining");
    }

    /// The process `pid` is the service from now on.
    pub fn succeeded_by(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}\nREADY=1"));
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.at
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}
