//! Sockets that a service manager bound and passes on: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES` (sd_listen_fds(3)).
//!
//! It takes descriptors over and names them; to which listener they belong is `inherit`'s business.

use std::env;

use listenfd::ListenFd;

use super::ServerError;
use super::inherit::Inherited;

/// The sockets that this process was started with; `None` where there are none for it.
///
/// # Errors
/// One of them is no TCP socket.
pub fn sockets() -> Result<Option<Inherited>, ServerError> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    // Without a process id they may have been meant for a process that started this one.
    let pid = env::var("LISTEN_PID").ok();
    if pid.and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(None);
    }
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok(None);
    }
    let mut names = names.split(':');
    let mut inherited = Inherited::default();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let socket = passed.take_tcp_listener(index).and_then(|socket| {
            let socket = socket.ok_or(std::io::ErrorKind::NotFound)?;
            inherited.add(name, socket, true)
        });
        socket.map_err(|error| {
            ServerError::Activation(format!("descriptor {index} (\"{name}\"): {error}"))
        })?;
    }
    Ok(Some(inherited))
}
