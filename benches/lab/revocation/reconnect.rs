//! How many bytes a device sends and receives to be back, with each kind of ticket.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use loadgen::plan::Limit;
use rustls::ClientConnection;
use serde::{Deserialize, Serialize};

use super::Laboratory;
use super::client_hello::ticket_length;
use super::operation::Operation;
use crate::client::{self, Client};
use crate::gateway_process::{PKI, Variation};

/// What tickets carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tickets {
    /// What the chain cache cannot tell.
    Compact,
    /// The device's chain too.
    SelfContained,
}

impl Tickets {
    const ALL: [Tickets; 2] = [Tickets::Compact, Tickets::SelfContained];

    /// Their name in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Tickets::Compact => "compact tickets",
            Tickets::SelfContained => "self-contained tickets",
        }
    }

    /// Their name in the gateway's configuration.
    fn key(self) -> &'static str {
        match self {
            Tickets::Compact => "compact",
            Tickets::SelfContained => "self_contained",
        }
    }
}

/// One kind of connection with one request, by bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reconnect {
    /// The connection.
    pub(crate) operation: Operation,
    /// What tickets the gateway issues.
    pub(crate) tickets: Tickets,
    /// Bytes that the device sends, the median.
    pub(crate) bytes_sent: u64,
    /// Bytes that it receives, the median.
    pub(crate) bytes_received: u64,
    /// Connections that were counted.
    pub(crate) connections: u64,
    /// The ticket that a ClientHello offers, in bytes.
    pub(crate) ticket_bytes: u64,
}

/// Every kind of connection with every kind of ticket.
pub(super) fn conduct(laboratory: &Laboratory<'_>) -> anyhow::Result<Vec<Reconnect>> {
    let choices = laboratory.choices;
    let mut reconnects = Vec::new();
    for tickets in Tickets::ALL {
        let variation = Variation {
            tickets: Some(tickets.key()),
            ..Variation::default()
        };
        let gateway = laboratory.gateway(tickets.key(), &variation)?;
        let ticket_bytes = ticket_of_first_device(laboratory, gateway.devices)?;
        for operation in Operation::ALL {
            let limit = Limit::Count(choices.reconnects as u64);
            let plan = operation.plan(choices, gateway.devices, laboratory.work, limit);
            let run = loadgen::run(&plan, laboratory.stop.clone(), |_| ())?;
            let title = operation.title();
            if let Some(fault) = operation.faults(&run).first() {
                bail!("{title} with {}: {fault}", tickets.title());
            }
            let metric = |name: &str| {
                run.metric(name, operation.metric())
                    .with_context(|| format!("loadgen says nothing about {name} of {title}"))
            };
            let median = |name: &str| metric(name)?.value(0.5).context("a damaged histogram");
            reconnects.push(Reconnect {
                operation,
                tickets,
                bytes_sent: median("bytes_sent")?,
                bytes_received: median("bytes_received")?,
                connections: metric("bytes_sent")?.count,
                ticket_bytes,
            });
        }
    }
    Ok(reconnects)
}

/// Connects one device, and measures the ticket that it would come back with.
fn ticket_of_first_device(laboratory: &Laboratory<'_>, address: SocketAddr) -> anyhow::Result<u64> {
    let fleet = client::fleet(&laboratory.work.join(PKI), 1)?;
    let device = fleet.first().context("there is no device")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The ticket comes before the answer.
    runtime.block_on(client::connect(device, address))?;
    Ok(next_ticket(device)?.context("the gateway issued no ticket")? as u64)
}

/// The length of the ticket in the ClientHello that the device would send now.
fn next_ticket(client: &Client) -> anyhow::Result<Option<usize>> {
    client.device.tickets.prepare(true);
    let configuration = client.configuration.clone();
    let mut connection = ClientConnection::new(configuration, client::server_name())?;
    let mut flight = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut flight)?;
    }
    Ok(ticket_length(&flight))
}
