//! A gateway in this process, through the library, on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway::config::Config;
use gateway::server::{Server, ServerError};
use gateway::upstream::endpoints::Endpoints;
use gateway::upstream::upkeep::Upkeep;
use gateway::upstream::view::EndpointView;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

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
    /// The list of endpoints as it is written, in place of `endpoints`.
    pub(crate) entries: Option<String>,
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
            entries: None,
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
        let endpoints = match &self.entries {
            Some(entries) => entries.clone(),
            None => format!("{endpoints:?}"),
        };
        format!(
            "[tls]\ncertificate = \"{server}.pem\"\nprivate_key = \"{server}.key\"\n{tls}\n\
             [trust]\nanchors = {anchors:?}\n{trust}\n\
             [[listeners]]\nname = \"devices\"\naddress = \"{listener}\"\n\
             [[upstreams]]\nname = \"telemetry\"\nendpoints = {endpoints}\n{upstream}\n\
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
    /// The upstreams in force, for the thread that does what the program does on its main thread: looks names up and checks.
    upstreams: UnboundedSender<Vec<Arc<Endpoints>>>,
}

impl Gateway {
    pub(crate) fn start(pki: &Pki, setup: &Setup) -> Self {
        let server = Server::start(setup.config(pki)).unwrap();
        let (upstreams, changes) = unbounded_channel();
        upstreams.send(server.upstreams()).unwrap();
        std::thread::spawn(move || keep_upstreams(changes));
        Self {
            server: Some(server),
            upstreams,
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
        let reloaded = self.server.as_mut().unwrap().reload(setup.config(pki));
        self.upstreams.send(self.server().upstreams()).unwrap();
        reloaded
    }

    /// How the endpoint at `address` is now.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> EndpointView {
        let upstreams = self.server().upstream_views();
        let mut all = upstreams.into_iter().flat_map(|view| view.endpoints);
        let address = address.to_string();
        all.find(|endpoint| endpoint.address == address).unwrap()
    }

    /// Waits until every worker is done, and says how they ended.
    pub(crate) fn join(mut self) -> std::io::Result<()> {
        self.server.take().unwrap().join()
    }
}

/// Goes on until the gateway is gone.
fn keep_upstreams(mut changes: UnboundedReceiver<Vec<Arc<Endpoints>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut upkeep = Upkeep::default();
        while let Some(upstreams) = changes.recv().await {
            upkeep.set(&upstreams);
        }
    });
    runtime.shutdown_background();
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.drain();
        }
    }
}
