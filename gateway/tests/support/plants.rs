//! Two trust domains in one gateway: the fleet's, which is the default, and that of a plant with an anchor, credentials
//! and names of its own.

use certs_gen::authority::{Authority, EndEntitySpec};
use certs_gen::credential::Credential;

use super::device::{Device, Options};
use super::pki::{Pki, SERVER_NAME, authority};
use super::running::{Gateway, Setup};
use super::upstream::Upstream;

/// The plant's trust domain.
pub(crate) const PLANT: &str = "plant-7";

/// A server name that belongs to the plant, by its wildcard.
pub(crate) const PLANT_NAME: &str = "gate.plant-7.example";

/// Another one.
pub(crate) const OTHER_PLANT_NAME: &str = "press.plant-7.example";

/// Names that belong to the default domain, however much they look like the plant's `*.plant-7.example`.
pub(crate) const NOT_OF_THE_PLANT: [&str; 4] = [
    "plant-7.example",
    "a.b.plant-7.example",
    "evil-plant-7.example",
    "gate.plant-7.example.evil.test",
];

pub(crate) struct Plants {
    pub(crate) pki: Pki,
    /// The plant's trust anchor.
    pub(crate) plant: Authority,
    /// What the gateway shows who call it by a name of the default domain, and by one of the plant's.
    pub(crate) servers: [Credential; 2],
    pub(crate) upstream: Upstream,
    pub(crate) setup: Setup,
    pub(crate) gateway: Gateway,
}

impl Plants {
    /// Starts it with `change` made to the configuration. The plant's section is the last: what is added to
    /// [`Setup::more`] are keys of it.
    pub(crate) fn start(change: impl FnOnce(&mut Setup)) -> Self {
        let pki = Pki::new();
        let plant = authority("the plant's trust anchor");
        let upstream = Upstream::ok();
        let default_names = [&[SERVER_NAME, "127.0.0.1"], &NOT_OF_THE_PLANT[..]].concat();
        let servers = [&default_names[..], &[PLANT_NAME, OTHER_PLANT_NAME]]
            .map(|names| pki.server_for(names));
        pki.write_server("server", &servers[0]);
        pki.write_server("plant", &servers[1]);
        pki.write("plant-anchor.pem", &plant.certificate_pem());
        let mut setup = Setup::new(upstream.address());
        setup.more = format!(
            "[[trust_domains]]\nname = \"{PLANT}\"\nserver_names = [\"*.plant-7.example\"]\n\
             certificate = \"plant.pem\"\nprivate_key = \"plant.key\"\nanchors = [\"plant-anchor.pem\"]\n"
        );
        change(&mut setup);
        let gateway = Gateway::start(&pki, &setup);
        Self {
            pki,
            plant,
            servers,
            upstream,
            setup,
            gateway,
        }
    }

    /// Puts the configuration into force with `change` made to it.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.gateway.reload(&self.pki, &self.setup).unwrap();
    }

    /// A good device of the fleet, which calls the gateway by the default domain's name.
    pub(crate) fn fleets_device(&self, options: Options) -> Device {
        Device::with(&self.pki, Some(&self.pki.device("device-000001")), options)
    }

    /// A good device of the plant, which calls the gateway by the plant's name.
    pub(crate) fn plants_device(&self, options: Options) -> Device {
        let credential = self.plant.issue(&EndEntitySpec::device("press-000001"));
        Device::with(&self.pki, Some(&credential.unwrap()), options).calling(PLANT_NAME)
    }

    /// The device ids that the upstream was told, in order.
    pub(crate) fn device_ids(&self) -> Vec<String> {
        let ids = self.upstream.received().into_iter();
        ids.map(|received| received.message.fields("x-device-id").join("+"))
            .collect()
    }
}
