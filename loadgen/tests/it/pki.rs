//! Small fleets, made once per test process: ours, one that nobody here trusts, and one that is not so small.

use std::path::Path;
use std::sync::OnceLock;

use certs_gen::fleet::{FleetSpec, Silent, generate};
use tempfile::TempDir;

/// Devices in each fleet.
pub(crate) const DEVICES: usize = 40;

/// Devices of the fleet in which nobody is ever missing.
pub(crate) const MANY: usize = 160;

fn fleet(devices: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spec = FleetSpec::new(folder.path().join("pki"), devices);
    generate(&spec, &Silent).unwrap();
    folder
}

/// The fleet under test.
pub(crate) fn ours() -> &'static Path {
    static FLEET: OnceLock<(TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FLEET.get_or_init(|| {
        let folder = fleet(DEVICES);
        let path = folder.path().join("pki");
        (folder, path)
    });
    path
}

/// A fleet with another trust anchor.
pub(crate) fn strangers() -> &'static Path {
    static FLEET: OnceLock<(TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FLEET.get_or_init(|| {
        let folder = fleet(DEVICES);
        let path = folder.path().join("pki");
        (folder, path)
    });
    path
}

/// A fleet of [`MANY`] devices.
pub(crate) fn many() -> &'static Path {
    static FLEET: OnceLock<(TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FLEET.get_or_init(|| {
        let folder = fleet(MANY);
        let path = folder.path().join("pki");
        (folder, path)
    });
    path
}
