//! The fleet's PKI: a trust anchor, an intermediate, the gateway's own certificate, in a folder that goes with it.

use std::path::{Path, PathBuf};

use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
use certs_gen::credential::Credential;
use certs_gen::names::ServerName;

pub(crate) const SERVER_NAME: &str = "gateway.test";

pub(crate) struct Pki {
    pub(crate) anchor: Authority,
    pub(crate) intermediate: Authority,
    folder: tempfile::TempDir,
}

impl Pki {
    /// A fresh PKI; its folder has what the smallest configuration names.
    pub(crate) fn new() -> Self {
        let anchor = authority("test trust anchor");
        let intermediate = anchor
            .intermediate(&AuthoritySpec::new("test intermediate"))
            .unwrap();
        let pki = Self {
            anchor,
            intermediate,
            folder: tempfile::tempdir().unwrap(),
        };
        pki.write("trust-anchor.pem", &pki.anchor.certificate_pem());
        pki.write_server("server", &pki.server());
        pki
    }

    /// A certificate for the gateway itself.
    pub(crate) fn server(&self) -> Credential {
        self.server_for(&[SERVER_NAME])
    }

    /// A certificate for a server of these names.
    pub(crate) fn server_for(&self, names: &[&str]) -> Credential {
        let names: Vec<ServerName> = names.iter().map(|name| name.parse().unwrap()).collect();
        self.intermediate
            .issue(&EndEntitySpec::server(&names))
            .unwrap()
    }

    pub(crate) fn write_server(&self, name: &str, server: &Credential) {
        self.write(&format!("{name}.pem"), &server.chain_pem());
        self.write(&format!("{name}.key"), &server.key_pem());
    }

    /// A good device's credential.
    pub(crate) fn device(&self, id: &str) -> Credential {
        self.issue(&EndEntitySpec::device(id))
    }

    pub(crate) fn issue(&self, spec: &EndEntitySpec) -> Credential {
        self.intermediate.issue(spec).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A trust anchor that nobody knows yet.
pub(crate) fn authority(name: &str) -> Authority {
    Authority::trust_anchor(&AuthoritySpec::new(name)).unwrap()
}
