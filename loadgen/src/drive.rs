//! Driving a fleet against a server, as a plan says.
//!
//! One thread per shard, each with its own runtime, devices and recorder; this module is the controller that starts
//! them, reads the watched processes at the window's ends and adds the samples up. It renders nothing.

mod alarm;
mod attempt;
mod budget;
mod connect;
mod counted;
mod distant;
mod error;
mod exchange;
mod failure;
mod limits;
mod observed;
mod open;
mod payload;
mod release;
mod shard;
mod stop;
mod thread_time;
pub(crate) mod tls;
mod verifier;

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::watch;

pub(crate) use alarm::Alarm;
pub use error::RunError;
pub use stop::{Stop, StopHandle, stop_channel};

use crate::fleet::{Fleet, Opened};
use crate::measure::process::{Look, MachineTime};
use crate::measure::{Health, Measurement, Recorder, Second, Series, Watcher};
use crate::plan::{Limit, Pace, Plan, Share, part_of};
use connect::Connector;
use exchange::Requests;
use open::OpenConnections;
use release::{Orders, Stage};
use shard::{Fatal, Message, Shard};

/// Task polls between two looks at the sockets: a handshake is a long poll, and time stamps must not wait for sixty.
const EVENT_INTERVAL: u32 = 5;
/// Time for all shards to learn when the load begins.
const LEAD: Duration = Duration::from_millis(20);

/// A plan whose open points are settled.
struct Settled {
    plan: Plan,
    address: SocketAddr,
    server_name: ServerName<'static>,
    fleet: Arc<Fleet>,
    shards: usize,
    configuration: ClientConfig,
}

/// Runs the plan with its fleet. `progress` is called about once a second with the second that has just passed.
///
/// # Errors
///
/// What the operator has to mend before a run makes sense; never the failure of a single attempt.
pub(crate) fn run(
    plan: &Plan,
    fleet: &Arc<Fleet>,
    stop: Stop,
    mut progress: impl FnMut(&Second),
) -> Result<Measurement, RunError> {
    let settled = Arc::new(settle(plan, fleet)?);
    let mut watcher = Watcher::new(&plan.watch_pids)
        .map_err(|(pid, source)| RunError::WatchedProcess { pid, source })?;
    let before = watcher.look();

    let (messages_in, messages) = mpsc::channel();
    let (stage_in, stage) = watch::channel(Stage::Prepare);
    let threads: Vec<JoinHandle<()>> = (0..settled.shards)
        .map(|index| {
            let (settled, messages, stage, stop) = (
                Arc::clone(&settled),
                messages_in.clone(),
                stage.clone(),
                stop.clone(),
            );
            std::thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || shard_thread(&settled, index, messages, stage, stop))
                .map_err(RunError::Thread)
        })
        .collect::<Result<_, _>>()?;
    drop(messages_in);

    let mut controller = Controller {
        settled: &settled,
        messages,
        series: Series::default(),
        progress: &mut progress,
    };
    let result = controller.conduct(&stage_in, &mut watcher, &before, &stop);
    let series = controller.series.into_seconds();
    drop(controller.messages);
    drop(stage_in);
    let outcome = result.map(|(measurement, ends)| Measurement {
        series,
        watched: (!watcher.is_empty()).then(|| watcher.finish(&before, &ends.0, &ends.1)),
        ..measurement
    });
    if outcome.is_ok() {
        for thread in threads {
            thread.join().map_err(|_| RunError::ShardDied)?;
        }
    }
    outcome
}

struct Controller<'run, P> {
    settled: &'run Settled,
    messages: mpsc::Receiver<Message>,
    series: Series,
    progress: &'run mut P,
}

impl<P: FnMut(&Second)> Controller<'_, P> {
    fn conduct(
        &mut self,
        stage: &watch::Sender<Stage>,
        watcher: &mut Watcher,
        before: &Look,
        stop: &Stop,
    ) -> Result<(Measurement, (Look, Look)), RunError> {
        let shards = self.settled.shards;
        let mut unprepared = 0;
        for _ in 0..shards {
            if let Message::Ready { unprepared: more } = self.next()? {
                unprepared += more;
            }
        }
        let origin = Instant::now() + LEAD;
        let _ = stage.send(Stage::Run(origin));

        // The window's start is a moment of the clock; its end is when the last shard has drained.
        let window_start = origin + self.settled.plan.warmup;
        let mut drained = Vec::new();
        let mut looked = None;
        while drained.len() < shards {
            let wait_until = looked.is_none().then_some(window_start);
            match self.next_until(wait_until)? {
                Some(Message::Drained { open, core }) => drained.push((open, core)),
                Some(_) => {}
                None => looked = Some((watcher.look(), MachineTime::now(), SystemTime::now())),
            }
        }
        let ended = Instant::now();
        let (start_look, machine_at_start, started_at) =
            looked.unwrap_or_else(|| (before.clone(), MachineTime::default(), SystemTime::now()));
        let end_look = watcher.look();
        let machine = MachineTime::now();
        let _ = stage.send(Stage::Close);

        let mut recorder = Recorder::new();
        for _ in 0..shards {
            loop {
                if let Message::Finished(samples) = self.next()? {
                    recorder.merge(&samples);
                    break;
                }
            }
        }
        let interrupted = stop.is_requested();
        let window = match self.settled.plan.limit {
            Limit::DurationSeconds(duration) if !interrupted => duration,
            _ => ended.saturating_duration_since(window_start),
        };
        let measurement = Measurement {
            started_at,
            window,
            recorder,
            series: Vec::new(),
            open_at_end: drained.iter().map(|(open, _)| open).sum(),
            devices: self.settled.fleet.len(),
            shards,
            unprepared,
            health: Health {
                shard_cpu_shares: drained.iter().map(|(_, core)| core.running).collect(),
                shard_waiting_shares: drained.iter().map(|(_, core)| core.waiting).collect(),
                steal_share: machine.steal_share_since(&machine_at_start),
                throttled_share: machine.throttled_share_since(
                    &machine_at_start,
                    ended.saturating_duration_since(window_start) * shards as u32,
                ),
            },
            watched: None,
            interrupted,
        };
        Ok((measurement, (start_look, end_look)))
    }

    /// The next message that is not a second of the series.
    fn next(&mut self) -> Result<Message, RunError> {
        loop {
            if let Some(message) = self.next_until(None)? {
                return Ok(message);
            }
        }
    }

    /// The same, or `None` once `until` has passed.
    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Message>, RunError> {
        loop {
            let message = match until {
                Some(until) => match self
                    .messages
                    .recv_timeout(until.saturating_duration_since(Instant::now()))
                {
                    Ok(message) => message,
                    Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Err(RunError::ShardDied),
                },
                None => self.messages.recv().map_err(|_| RunError::ShardDied)?,
            };
            match message {
                Message::Second(second) => {
                    if let Some(sum) = self.series.add(*second, self.settled.shards) {
                        (self.progress)(sum);
                    }
                }
                Message::Fatal(fatal) => {
                    return Err(RunError::from_fatal(
                        fatal,
                        self.settled.address,
                        &self.settled.plan,
                    ));
                }
                message => return Ok(Some(message)),
            }
        }
    }
}

fn shard_thread(
    settled: &Settled,
    index: usize,
    messages: mpsc::Sender<Message>,
    stage: watch::Receiver<Stage>,
    stop: Stop,
) {
    if let Err(fatal) = drive_shard(settled, index, &messages, stage, stop) {
        // Nobody listens any more if another shard has failed before.
        let _ = messages.send(Message::Fatal(fatal));
    }
}

fn drive_shard(
    settled: &Settled,
    index: usize,
    messages: &mpsc::Sender<Message>,
    stage: watch::Receiver<Stage>,
    stop: Stop,
) -> Result<(), Fatal> {
    let plan = &settled.plan;
    let share = Share {
        index,
        of: settled.shards,
    };
    let devices = settled.fleet.devices(index, settled.shards);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(Fatal::Io)?;
    runtime.block_on(async {
        let connector = Connector {
            address: settled.address,
            server_name: settled.server_name.clone(),
            source_addresses: plan.source_addresses,
            distances: plan.distances.clone(),
            protocol: plan.protocol,
            configuration: settled.configuration.clone(),
            open: std::rc::Rc::new(OpenConnections::default()),
        };
        let requests = Requests::new(plan)
            .ok_or_else(|| Fatal::Io(std::io::ErrorKind::InvalidInput.into()))?;
        let max_in_flight = plan.max_in_flight.map_or(usize::MAX, |most| {
            usize::try_from(part_of(most as u64, index, settled.shards))
                .unwrap_or(usize::MAX)
                .max(1)
        });
        let shard = std::rc::Rc::new(Shard::new(
            devices,
            connector,
            requests,
            plan.timeout,
            plan.patience,
            max_in_flight,
            messages.clone(),
        ));
        release::run(
            shard,
            plan,
            Orders::new(plan, share),
            stage,
            stop.receiver(),
        )
        .await
        .map_err(Fatal::Io)
    })
}

/// Opens the plan's fleet; `observer` is told how far it is, and can end it.
///
/// # Errors
///
/// What the operator has to mend before there is a fleet.
pub fn open_fleet(
    plan: &Plan,
    observer: impl FnMut(Opened) -> ControlFlow<()>,
) -> Result<Arc<Fleet>, RunError> {
    let all = Share { index: 0, of: 1 };
    let provider = tls::provider(&plan.groups);
    let keys = provider.key_provider;
    let fleet = Fleet::open(&plan.fleet, plan.devices, all, keys, observer)?;
    Ok(Arc::new(fleet))
}

fn settle(plan: &Plan, fleet: &Arc<Fleet>) -> Result<Settled, RunError> {
    let devices = fleet.len();
    let most = match plan.pace {
        Pace::Closed { connections } if connections > devices => {
            return Err(RunError::MoreConnectionsThanDevices {
                connections,
                devices,
            });
        }
        Pace::Closed { connections } if !plan.activity().keeps_open() => connections,
        _ => devices,
    };
    let most = plan
        .max_in_flight
        .filter(|_| !plan.activity().keeps_open())
        .map_or(most, |bound| most.min(bound));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = plan.shards.unwrap_or(cores).clamp(
        1,
        match plan.pace {
            Pace::Closed { connections } => connections.max(1),
            Pace::Open { .. } | Pace::Hold => devices,
        },
    );
    limits::descriptors_for(most, shards).map_err(|limit| RunError::TooManyConnections {
        needed: most,
        limit,
    })?;
    let server_name = ServerName::try_from(plan.target.host.clone())
        .map_err(|_| RunError::ServerName(plan.target.host.clone()))?;
    let provider = tls::provider(&plan.groups);
    Ok(Settled {
        address: resolve(plan)?,
        server_name,
        fleet: Arc::clone(fleet),
        shards,
        configuration: tls::base_configuration(plan, &provider, fleet.trust_anchors())
            .map_err(RunError::Tls)?,
        plan: plan.clone(),
    })
}

fn resolve(plan: &Plan) -> Result<SocketAddr, RunError> {
    if let Some(address) = plan.target.literal_address() {
        return Ok(address);
    }
    let unresolved = |source| RunError::Unresolved {
        host: plan.target.host.clone(),
        source,
    };
    (plan.target.host.as_str(), plan.target.port)
        .to_socket_addrs()
        .map_err(unresolved)?
        .next()
        .ok_or_else(|| unresolved(std::io::ErrorKind::NotFound.into()))
}
