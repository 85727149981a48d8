//! What is offered to each server, and what the generator says became of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs_gen::fleet::{FleetSpec, Silent, generate};
use loadgen::plan::{ConstantDevices, Executor, Group, Limit, Mode, Protocol, Target, TlsVersion};
use loadgen::report::ErrorCount;
use loadgen::{Plan, RunResult, Stop};

/// Of ten requests for this path one is not answered.
pub(crate) const LOSSY: &str = "/lossy";
/// Attempts of each mix, preparation apart.
const ATTEMPTS: u64 = 300;
/// Devices that the servers trust, and those that they do not.
const DEVICES: usize = 30;
const STRANGERS: usize = 10;

/// One offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) mode: Mode,
    pub(crate) tls: TlsVersion,
    pub(crate) protocol: Protocol,
    /// A quarter of the devices are strangers, and one request of ten is never answered.
    pub(crate) troubled: bool,
}

const fn mix(mode: Mode) -> Mix {
    Mix {
        mode,
        tls: TlsVersion::Tls13,
        protocol: Protocol::Http1,
        troubled: false,
    }
}

/// Everything that is offered, one after the other.
pub(crate) const MIXES: [Mix; 8] = [
    mix(Mode::Full),
    mix(Mode::Resume),
    mix(Mode::Telemetry),
    mix(Mode::Mixed),
    Mix {
        protocol: Protocol::H2,
        ..mix(Mode::Mixed)
    },
    Mix {
        tls: TlsVersion::Tls12,
        ..mix(Mode::Resume)
    },
    Mix {
        troubled: true,
        ..mix(Mode::Resume)
    },
    Mix {
        troubled: true,
        ..mix(Mode::Mixed)
    },
];

/// What one side counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Handshakes that the server accepted in full,
    pub(crate) full: u64,
    /// and with a ticket.
    pub(crate) resumed: u64,
    /// Requests that were answered with 2xx.
    pub(crate) ok: u64,
    /// Attempts that the server refused because of the certificate.
    pub(crate) refused: u64,
    /// Requests that the device gave up waiting for.
    pub(crate) timed_out: u64,
}

/// The fleets, in folders.
pub(crate) struct Fleets {
    folder: tempfile::TempDir,
}

impl Fleets {
    pub(crate) fn make() -> Fleets {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, devices| {
            let path = folder.path().join(name);
            generate(&FleetSpec::new(&path, devices), &Silent).unwrap();
            path
        };
        let (ours, others) = (of("pki", DEVICES), of("others", STRANGERS));
        // One fleet of both, whose devices all trust the server.
        let both = folder.path().join("both");
        fs::create_dir_all(both.join("devices/00")).unwrap();
        fs::copy(ours.join("trust-anchor.pem"), both.join("trust-anchor.pem")).unwrap();
        for (fleet, prefix) in [(&ours, "known"), (&others, "stranger")] {
            for file in fs::read_dir(fleet.join("devices/00")).unwrap() {
                let file = file.unwrap();
                let name = format!("{prefix}-{}", file.file_name().to_str().unwrap());
                fs::copy(file.path(), both.join("devices/00").join(name)).unwrap();
            }
        }
        Fleets { folder }
    }

    /// Where everything is; the servers' credentials are in `pki`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn of(&self, mix: Mix) -> PathBuf {
        let name = if mix.troubled { "both" } else { "pki" };
        self.folder.path().join(name)
    }

    /// Offers the mix to the server at `address`.
    pub(crate) fn run(&self, mix: Mix, address: SocketAddr) -> RunResult {
        let mut target = Target::parse(&format!("https://{address}")).unwrap();
        if mix.troubled {
            target = target.with_path(LOSSY).unwrap();
        }
        let executor = ConstantDevices::new(8, Limit::Count(ATTEMPTS));
        let mut plan = Plan::new(target, self.of(mix)).with_scenario(
            Executor::ConstantDevices(executor),
            mix.mode.activity(mix.protocol, 256),
        );
        plan.tls = mix.tls;
        // In TLS 1.2 the curve of the server's certificate is held against this list too (RFC 8422 section 5.1).
        plan.groups = vec![Group::X25519, Group::P256];
        plan.warmup = Duration::ZERO;
        if mix.troubled {
            // Long enough for everything but an answer that never comes.
            plan.timeout = Duration::from_secs(1);
        }
        loadgen::run(&plan, Stop::never(), |_| ()).unwrap()
    }
}

/// What the generator says, preparation included; `is_refusal` knows how this server refuses. Nothing else may have failed.
pub(crate) fn counted(result: &RunResult, is_refusal: impl Fn(&ErrorCount) -> bool) -> Counted {
    let before = &result.before_window;
    let handshakes = [result.handshakes, before.handshakes];
    let mut counted = Counted {
        full: handshakes.iter().map(|of| of.full + of.full_hrr).sum(),
        resumed: handshakes.iter().map(|of| of.resumed).sum(),
        ok: result.counts.ok + before.counts.ok,
        ..Counted::default()
    };
    for error in result.errors.iter().chain(&before.errors) {
        if is_refusal(error) {
            counted.refused += error.count;
        } else if error.class == "timeout" && error.when == "first_byte" {
            counted.timed_out += error.count;
        } else {
            panic!("an error that nobody meant to happen: {error:?}");
        }
    }
    counted
}

/// What the mix is about must have happened at all.
pub(crate) fn check_that_it_happened(mix: Mix, result: &RunResult, counted: Counted) {
    assert_eq!(mix.troubled, counted.refused > 0, "{mix:?} {counted:?}");
    assert_eq!(mix.troubled, counted.timed_out > 0, "{mix:?} {counted:?}");
    assert!(counted.full > 0 && counted.ok > 0, "{mix:?} {counted:?}");
    if matches!(mix.mode, Mode::Resume | Mode::Mixed) {
        assert!(counted.resumed > 0, "{mix:?} {counted:?}");
    }
    if mix.mode == Mode::Resume && !mix.troubled {
        let share = result.resumption.accepted_share.unwrap();
        assert!(share >= 0.99, "{mix:?} {:?}", result.resumption);
    }
}
