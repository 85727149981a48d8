//! From the errors of sockets and of the TLS library to the closed list of causes.

use std::io;

use rustix::io::Errno;

use super::verifier::is_certificate_error;
use crate::measure::outcome::ServerFault;
use crate::measure::{Cause, LocalCause};

/// The cause that an I/O error stands for.
pub(crate) fn cause_of(error: &io::Error) -> Cause {
    if let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return cause_of_tls(error);
    }
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => return Cause::Local(LocalCause::Descriptors),
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => return Cause::Local(LocalCause::Addresses),
        Some(Errno::NOBUFS | Errno::NOMEM) => return Cause::Local(LocalCause::Memory),
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::ConnectRefused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Cause::Reset,
        io::ErrorKind::UnexpectedEof => Cause::Closed,
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Cause::Unreachable,
        _ => Cause::Local(LocalCause::Other),
    }
}

fn cause_of_tls(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::AlertReceived(alert) => Cause::Refused((*alert).into()),
        rustls::Error::NoApplicationProtocol => Cause::RefusedServer(ServerFault::Alpn),
        error if is_certificate_error(error) => Cause::RefusedServer(ServerFault::Certificate),
        _ => Cause::RefusedServer(ServerFault::Tls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_causes() {
        let tls =
            |error: rustls::Error| cause_of(&io::Error::new(io::ErrorKind::InvalidData, error));
        let alert = rustls::AlertDescription::CertificateRevoked;
        assert_eq!(tls(rustls::Error::AlertReceived(alert)), Cause::Refused(44));
        let unknown = rustls::CertificateError::UnknownIssuer;
        assert_eq!(
            tls(rustls::Error::InvalidCertificate(unknown)),
            Cause::RefusedServer(ServerFault::Certificate)
        );
        let os = |errno: Errno| cause_of(&io::Error::from(errno));
        assert_eq!(os(Errno::MFILE), Cause::Local(LocalCause::Descriptors));
        assert_eq!(os(Errno::ADDRNOTAVAIL), Cause::Local(LocalCause::Addresses));
        assert_eq!(os(Errno::CONNREFUSED), Cause::ConnectRefused);
        assert_eq!(os(Errno::CONNRESET), Cause::Reset);
        assert_eq!(os(Errno::PIPE), Cause::Reset);
        assert_eq!(
            cause_of(&io::ErrorKind::UnexpectedEof.into()),
            Cause::Closed
        );
    }
}
