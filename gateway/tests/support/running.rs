//! A gateway in this process, through the library, on a port of its own.

use std::net::SocketAddr;

use gateway::config::Config;
use gateway::server::{Server, ServerError};

use super::counters::Counters;
use super::pki::Pki;

/// A configuration file in parts, so that a test changes only what it is about.
#[derive(Clone)]
pub(crate) struct Setup {
    /// More keys of `[tls]`.
    pub(crate) tls: String,
    /// The gateway's own certificate and key, without their endings.
    pub(crate) server: String,
    pub(crate) anchors: Vec<String>,
    /// More keys of `[trust]`.
    pub(crate) trust: String,
    pub(crate) listener: String,
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Further endpoints, written as the configuration has them.
    pub(crate) more_endpoints: Vec<String>,
    /// More keys of `[[upstreams]]`.
    pub(crate) upstream: String,
    pub(crate) path_prefix: String,
    pub(crate) workers: usize,
    pub(crate) grace: String,
    /// Further sections.
    pub(crate) more: String,
}

impl Setup {
    /// The smallest configuration for `upstream`.
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        Self {
            tls: String::new(),
            server: "server".into(),
            anchors: vec!["trust-anchor.pem".into()],
            trust: String::new(),
            listener: "127.0.0.1:0".into(),
            endpoints: vec![upstream],
            more_endpoints: Vec::new(),
            upstream: String::new(),
            path_prefix: "/".into(),
            workers: 1,
            grace: "5s".into(),
            more: String::new(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let endpoints: Vec<String> = self
            .endpoints
            .iter()
            .map(|address| format!("http://{address}"))
            .chain(self.more_endpoints.iter().cloned())
            .collect();
        format!(
            "[tls]\ncertificate = \"{server}.pem\"\nprivate_key = \"{server}.key\"\n{tls}\n\
             [trust]\nanchors = {anchors:?}\n{trust}\n\
             [[listeners]]\nname = \"devices\"\naddress = \"{listener}\"\n\
             [[upstreams]]\nname = \"telemetry\"\nendpoints = {endpoints:?}\n{upstream}\n\
             [[routes]]\npath_prefix = \"{prefix}\"\nupstream = \"telemetry\"\n\
             [server]\nworkers = {workers}\nshutdown_grace_period = \"{grace}\"\n{more}\n",
            server = self.server,
            tls = self.tls,
            anchors = self.anchors,
            trust = self.trust,
            listener = self.listener,
            upstream = self.upstream,
            prefix = self.path_prefix,
            workers = self.workers,
            grace = self.grace,
            more = self.more,
        )
    }

    pub(crate) fn config(&self, pki: &Pki) -> Config {
        Config::parse(&self.text(), pki.folder()).unwrap()
    }
}

pub(crate) struct Gateway {
    server: Option<Server>,
}

impl Gateway {
    pub(crate) fn start(pki: &Pki, setup: &Setup) -> Self {
        let server = Server::start(setup.config(pki)).unwrap();
        Self {
            server: Some(server),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().listeners()[0].1
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters::parse(&self.server().render_metrics())
    }

    pub(crate) fn reload(&mut self, pki: &Pki, setup: &Setup) -> Result<(), ServerError> {
        self.server.as_mut().unwrap().reload(setup.config(pki))
    }

    /// Waits until every worker is done, and says how they ended.
    pub(crate) fn join(mut self) -> std::io::Result<()> {
        self.server.take().unwrap().join()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.drain();
        }
    }
}
