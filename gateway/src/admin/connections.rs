//! `/connections`, `/devices` and `/disconnect`: the open connections of all workers, asked for slice by slice.
//!
//! A page is as the workers were while it was gathered, not at one moment. A connection that opens in a slot already passed is
//! not on it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::query::Query;
use super::revoke;
use crate::authorize::Denied;
use crate::clock;
use crate::identity::{Identified, hex};
use crate::live::census::{ConnectionId, Filter, Row};
use crate::trust::DEFAULT;
use crate::verify::AuthorityId;
use crate::worker::asks::Asks;

/// How many entries a page has, unless the query says, and at the most.
const LIMIT: usize = 100;
const MOST: usize = 1000;

#[derive(Debug, Serialize)]
struct Page<T> {
    schema: &'static str,
    #[serde(flatten)]
    entries: T,
    /// What to give as `after` for the next page; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Debug, Serialize)]
struct Connection {
    id: String,
    device_id: Option<String>,
    trust_domain: String,
    issuer: Option<String>,
    fingerprint: Option<String>,
    listener: String,
    peer: String,
    protocol: &'static str,
    tls_version: &'static str,
    handshake: &'static str,
    since: String,
    last_activity: String,
    requests: u64,
    in_request: bool,
}

#[derive(Debug, Serialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Debug, Serialize)]
struct Device {
    device_id: Option<String>,
    trust_domain: String,
    issuer: Option<String>,
    connections: usize,
    requests: u64,
    since: String,
    last_activity: String,
    #[serde(skip)]
    age: Duration,
    #[serde(skip)]
    quiet: Duration,
}

/// A page of open connections.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn list(
    asks: &[Asks],
    query: Option<&str>,
) -> Result<impl Serialize + use<>, String> {
    let query = Query::parse(
        query,
        &["limit", "after", "device", "issuer", "trust_domain"],
    )?;
    let (limit, filter) = (limit(&query)?, filter(&query));
    let after = query
        .get("after")
        .map(str::parse::<ConnectionId>)
        .transpose()?;
    let mut issuers = Issuers::default();
    let mut connections = Vec::new();
    let mut walk = Walk::new(asks, filter, after);
    'all: while let Some((worker, rows)) = walk.next().await {
        for row in rows {
            let issuer = row.device.as_deref().map(|device| issuers.name(device));
            if query
                .get("issuer")
                .is_some_and(|wanted| issuer.as_deref() != Some(wanted))
            {
                continue;
            }
            connections.push(connection(worker, row, issuer));
            if connections.len() > limit {
                break 'all;
            }
        }
    }
    let more = connections.len() > limit;
    connections.truncate(limit);
    let next = connections
        .last()
        .filter(|_| more)
        .map(|last| last.id.clone());
    Ok(Page {
        schema: "gateway.connections/1",
        entries: Connections { connections },
        next,
    })
}

/// A page of devices with open connections, in the order of trust domain and device id.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn devices(
    asks: &[Asks],
    query: Option<&str>,
) -> Result<impl Serialize + use<>, String> {
    let query = Query::parse(
        query,
        &["limit", "after", "device", "issuer", "trust_domain"],
    )?;
    let (limit, filter) = (limit(&query)?, filter(&query));
    let mut issuers = Issuers::default();
    // The first ones only: one too many tells whether there are more.
    let mut devices: BTreeMap<String, Device> = BTreeMap::new();
    let mut walk = Walk::new(asks, filter, None);
    while let Some((_, rows)) = walk.next().await {
        for row in rows {
            let device_id = row.device.as_deref().map_or("", Identified::device_id);
            let key = format!("{}/{device_id}", row.trust_domain);
            if query.get("after").is_some_and(|after| *key <= *after) {
                continue;
            }
            let issuer = row.device.as_deref().map(|device| issuers.name(device));
            if query
                .get("issuer")
                .is_some_and(|wanted| issuer.as_deref() != Some(wanted))
            {
                continue;
            }
            let device = devices.entry(key).or_insert_with(|| Device {
                device_id: row
                    .device
                    .as_deref()
                    .map(|device| device.device_id().to_owned()),
                trust_domain: row.trust_domain.to_string(),
                issuer,
                connections: 0,
                requests: 0,
                since: String::new(),
                last_activity: String::new(),
                age: row.age,
                quiet: row.quiet,
            });
            device.connections += 1;
            device.requests += row.requests;
            device.age = device.age.max(row.age);
            device.quiet = device.quiet.min(row.quiet);
            if devices.len() > limit + 1 {
                devices.pop_last();
            }
        }
    }
    let more = devices.len() > limit;
    if more {
        devices.pop_last();
    }
    let next = devices
        .last_key_value()
        .filter(|_| more)
        .map(|(key, _)| key.clone());
    let devices = devices.into_values().map(|mut device| {
        device.since = ago(device.age);
        device.last_activity = ago(device.quiet);
        device
    });
    Ok(Page {
        schema: "gateway.devices/1",
        entries: Devices {
            devices: devices.collect(),
        },
        next,
    })
}

/// Whom to disconnect, as a request's body says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    device_id: Option<String>,
    trust_domain: Option<String>,
    fingerprint: Option<String>,
    connection: Option<String>,
}

/// Which connections a request's body means.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn order(body: &[u8]) -> Result<Filter, String> {
    const NEEDED: &str = "name one of device_id (with its trust_domain, if it is not the default), fingerprint and connection";
    let order: Order =
        serde_json::from_slice(body).map_err(|error| format!("{NEEDED}: {error}"))?;
    match order {
        Order {
            device_id: Some(device),
            trust_domain,
            fingerprint: None,
            connection: None,
        } if !device.is_empty() => Ok(Filter {
            device: Some(device),
            trust_domain: Some(trust_domain.unwrap_or_else(|| DEFAULT.to_owned())),
            ..Filter::default()
        }),
        Order {
            device_id: None,
            trust_domain: None,
            fingerprint: Some(fingerprint),
            connection: None,
        } => Ok(Filter {
            fingerprint: Some(revoke::fingerprint(&fingerprint)?),
            ..Filter::default()
        }),
        Order {
            device_id: None,
            trust_domain: None,
            fingerprint: None,
            connection: Some(id),
        } => Ok(Filter {
            connection: Some(id.parse()?),
            ..Filter::default()
        }),
        _ => Err(NEEDED.to_owned()),
    }
}

/// Ends the connections that fit `filter`, and says how many those were. The devices may come back.
pub(super) async fn disconnect(asks: &[Asks], filter: Filter) -> usize {
    let mut ended = 0;
    for (worker, asks) in asks.iter().enumerate() {
        if filter.connection.is_some_and(|id| id.worker != worker) {
            continue;
        }
        let mut from = Some(filter.connection.map_or(0, |id| id.slot));
        while let Some(at) = from {
            let wanted = filter.clone();
            let ending = asks.ask(move |worker| {
                let (count, next) = worker.live().disconnect(at, &wanted);
                for _ in 0..count {
                    worker.metrics().ended(Denied::Disconnected);
                }
                (count, next)
            });
            let (count, next) = ending.await.unwrap_or_default();
            ended += count;
            // One connection is in one slot.
            from = next.filter(|_| filter.connection.is_none());
        }
    }
    ended
}

/// Goes through the connections of all workers.
struct Walk<'a> {
    asks: &'a [Asks],
    filter: Filter,
    worker: usize,
    from: usize,
}

impl<'a> Walk<'a> {
    /// From the first connection, or from the one after `after`.
    fn new(asks: &'a [Asks], filter: Filter, after: Option<ConnectionId>) -> Self {
        let (worker, from) = after.map_or((0, 0), |id| (id.worker, id.slot.saturating_add(1)));
        Self {
            asks,
            filter,
            worker,
            from,
        }
    }

    /// The next ones, and whose they are.
    async fn next(&mut self) -> Option<(usize, Vec<Row>)> {
        let worker = self.worker;
        let asks = self.asks.get(worker)?;
        let (filter, from) = (self.filter.clone(), self.from);
        let question = move |worker: &std::rc::Rc<crate::worker::Worker>| {
            worker.live().list(from, &filter, clock::now())
        };
        // A worker that has ended has no connections.
        let (rows, next) = asks.ask(question).await.unwrap_or_default();
        match next {
            Some(next) => self.from = next,
            None => (self.worker, self.from) = (worker + 1, 0),
        }
        Some((worker, rows))
    }
}

/// The names of issuers, each read out of a certificate once.
#[derive(Debug, Default)]
struct Issuers(HashMap<AuthorityId, String>);

impl Issuers {
    fn name(&mut self, device: &Identified) -> String {
        let read = || device.headers().issuer_name().unwrap_or_default();
        match device.links().first() {
            Some(link) => self.0.entry(link.issuer).or_insert_with(read).clone(),
            None => read(),
        }
    }
}

fn connection(worker: usize, row: Row, issuer: Option<String>) -> Connection {
    let (slot, serial) = (row.slot, row.serial);
    Connection {
        id: ConnectionId {
            worker,
            slot,
            serial,
        }
        .to_string(),
        device_id: row
            .device
            .as_deref()
            .map(|device| device.device_id().to_owned()),
        trust_domain: row.trust_domain.to_string(),
        issuer,
        fingerprint: row
            .device
            .as_deref()
            .map(|device| hex(device.fingerprint())),
        listener: row.listener.to_string(),
        peer: row.address.to_string(),
        protocol: row.protocol,
        tls_version: row.tls_version,
        handshake: row.handshake,
        since: ago(row.age),
        last_activity: ago(row.quiet),
        requests: row.requests,
        in_request: row.in_request,
    }
}

fn limit(query: &Query) -> Result<usize, String> {
    let Some(text) = query.get("limit") else {
        return Ok(LIMIT);
    };
    match text.parse() {
        Ok(limit) if (1..=MOST).contains(&limit) => Ok(limit),
        _ => Err(format!("limit is a number from 1 to {MOST}")),
    }
}

fn filter(query: &Query) -> Filter {
    let text = |name| query.get(name).map(str::to_owned);
    Filter {
        device: text("device"),
        trust_domain: text("trust_domain"),
        ..Filter::default()
    }
}

/// The time so long ago (RFC 3339).
fn ago(age: Duration) -> String {
    let now = Duration::from_secs(clock::unix_seconds());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + now.saturating_sub(age)).to_string()
}
