//! A Unix socket's place in the file system: appears whole, for its owner only, and goes with the process that made it.
//!
//! It replaces what a dead process left, and never what is no socket.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a socket that this process listens on.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put its own there since.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, in the place of whatever socket is there, if `replaces` says so or nobody listens on it.
    ///
    /// # Errors
    /// Somebody listens there, it is no socket, or there cannot be one.
    pub(super) fn bind(path: &Path, replaces: bool) -> io::Result<(UnixListener, Self)> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::other("there is something that is no socket"));
            }
            Ok(_) if !replaces && UnixStream::connect(path).is_ok() => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another gateway runs here; --take-over takes over from it",
                ));
            }
            _ => {}
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The file gets the mode of the socket, less the umask; afterwards would be too late.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(&SockAddr::unix(&beside)?)?;
        let file = || {
            socket.listen(8)?;
            let made = std::fs::symlink_metadata(&beside)?;
            std::fs::rename(&beside, path)?;
            Ok(Self {
                path: path.to_owned(),
                identity: (made.dev(), made.ino()),
            })
        };
        let file = file().inspect_err(|_: &io::Error| {
            let _ = std::fs::remove_file(&beside);
        })?;
        Ok((socket.into(), file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if still {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::SocketFile;

    #[test]
    fn it_is_for_its_owner_and_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover");
        let (_listener, file) = SocketFile::bind(&path, false).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_replaces_a_dead_socket_and_a_living_one_only_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover");
        let (listener, first) = SocketFile::bind(&path, false).unwrap();
        let error = SocketFile::bind(&path, false).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        let (second_listener, _second) = SocketFile::bind(&path, true).unwrap();
        drop(first);
        assert!(path.exists(), "the first one's file was replaced");
        assert!(UnixStream::connect(&path).is_ok());
        drop((listener, second_listener));
        let (_third_listener, _third) = SocketFile::bind(&path, false).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn it_never_replaces_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, "precious").unwrap();
        assert!(SocketFile::bind(&path, true).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = folder.path().join("no/such/folder");
        assert!(SocketFile::bind(&nowhere, false).is_err());
    }
}
