//! All trust domains of a configuration: by name, and by the server name or authority that belongs to them.

use std::sync::Arc;

use http::uri::Authority;

use crate::trust::TrustDomain;
use crate::trust::names::Names;

/// The trust domains of a configuration; the first is the default.
#[derive(Debug)]
pub struct Domains {
    domains: Vec<Arc<TrustDomain>>,
    names: Names,
}

impl Domains {
    /// The set of `domains`.
    pub fn new(domains: Vec<Arc<TrustDomain>>) -> Self {
        let names = Names::new(domains.iter().enumerate().flat_map(|(index, domain)| {
            let names = domain.settings().server_names.iter();
            names.map(move |name| (index, name))
        }));
        Self { domains, names }
    }

    /// All of them, the default first.
    pub fn all(&self) -> &[Arc<TrustDomain>] {
        &self.domains
    }

    /// The index of the domain that a handshake with this server name goes by.
    pub fn index_of(&self, server_name: Option<&str>) -> usize {
        self.names.lookup(server_name)
    }

    /// The domain called `name`.
    pub fn named(&self, name: &str) -> Option<&Arc<TrustDomain>> {
        self.domains
            .iter()
            .find(|domain| *domain.name().as_ref() == *name)
    }

    /// Whether a request for `authority` (a host, perhaps with a port) may come over a connection of the domain called
    /// `name`.
    pub fn is_host_of(&self, name: &str, authority: Option<&str>) -> bool {
        if let [only] = self.domains.as_slice() {
            return *only.name().as_ref() == *name;
        }
        let parsed = authority.and_then(|text| text.parse::<Authority>().ok());
        let index = self.index_of(parsed.as_ref().map(Authority::host));
        self.domains
            .get(index)
            .is_some_and(|domain| *domain.name().as_ref() == *name)
    }
}
