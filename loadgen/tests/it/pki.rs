//! Two small fleets, made once per test process: ours, and one that nobody here trusts.

use std::path::Path;
use std::sync::OnceLock;

use certs_gen::fleet::{FleetSpec, Silent, generate};
use tempfile::TempDir;

/// Devices in each fleet.
pub(crate) const DEVICES: usize = 40;

fn fleet() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spec = FleetSpec::new(folder.path().join("pki"), DEVICES);
    generate(&spec, &Silent).unwrap();
    folder
}

/// The fleet under test.
pub(crate) fn ours() -> &'static Path {
    static FLEET: OnceLock<(TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FLEET.get_or_init(|| {
        let folder = fleet();
        let path = folder.path().join("pki");
        (folder, path)
    });
    path
}

/// A fleet with another trust anchor.
pub(crate) fn strangers() -> &'static Path {
    static FLEET: OnceLock<(TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FLEET.get_or_init(|| {
        let folder = fleet();
        let path = folder.path().join("pki");
        (folder, path)
    });
    path
}
