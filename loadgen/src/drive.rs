//! Driving a fleet against a server, as a plan says.
//!
//! One thread per shard, each with its own runtime, devices and recorder; this module is the controller that starts
//! them, reads the watched processes at the window's ends and adds the samples up. It renders nothing.

mod alarm;
mod attempt;
mod budget;
mod cast;
mod connect;
mod counted;
mod distant;
mod error;
mod exchange;
mod failure;
mod fault;
mod http;
mod http1;
mod kept;
mod leaving;
mod limits;
mod looks;
mod mqtt;
mod numbered;
mod observed;
mod open;
mod payload;
mod records;
mod release;
mod requests;
mod round;
mod script;
mod session;
mod shard;
mod stop;
mod stream;
mod task;
mod thread_time;
pub(crate) mod tls;
mod verifier;
mod websocket;
mod witness;

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::watch;

pub(crate) use alarm::Alarm;
pub use error::RunError;
pub use stop::{Stop, StopHandle, stop_channel};

use crate::fleet::{self, Fleet, FleetError, Opened};
use crate::measure::process::MachineTime;
use crate::measure::{BadDevices, Health, Measurement, Recorder, ScenarioSamples, Second, Series};
use crate::plan::{Plan, Protocol, Scenario, Share};
use cast::Cast;
use connect::Connector;
use looks::{Looks, Watch};
use open::OpenConnections;
use release::Stage;
use round::Round;
use shard::{Fatal, Message, Shard};
use task::Alert;

/// Task polls between two looks at the sockets: a handshake is a long poll, and time stamps must not wait for sixty.
const EVENT_INTERVAL: u32 = 5;
/// Time for all shards to learn when the load begins.
const LEAD: Duration = Duration::from_millis(20);
/// How long before an appointed start the clock is no longer asked.
const CLOCK_LOOK: Duration = Duration::from_millis(200);

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
    progress: impl FnMut(&Second),
) -> Result<Measurement, RunError> {
    let mut session = Session::open(plan, fleet, stop)?;
    let measurement = session.round(plan, progress)?;
    session.close()?;
    Ok(measurement)
}

/// Shards that wait for rounds: devices, tickets and connections stay with them from one round to the next.
pub(crate) struct Session {
    settled: Arc<Settled>,
    watcher: Watch,
    before: Looks,
    messages: mpsc::Receiver<Message>,
    stage: watch::Sender<Stage>,
    threads: Vec<JoinHandle<()>>,
    stop: Stop,
}

impl Session {
    /// Starts the shards.
    ///
    /// # Errors
    ///
    /// What the operator has to mend.
    pub(crate) fn open(plan: &Plan, fleet: &Arc<Fleet>, stop: Stop) -> Result<Session, RunError> {
        let settled = Arc::new(settle(plan, fleet)?);
        let mut watcher = Watch::new(&plan.watch_pids)?;
        let before = watcher.look();
        let (messages_in, messages) = mpsc::channel();
        let (stage, stage_out) = watch::channel(Stage::Open);
        let threads = (0..settled.shards)
            .map(|index| {
                let (settled, messages, stage, stop) = (
                    Arc::clone(&settled),
                    messages_in.clone(),
                    stage_out.clone(),
                    stop.clone(),
                );
                std::thread::Builder::new()
                    .name(format!("shard-{index}"))
                    .spawn(move || shard_thread(&settled, index, messages, stage, stop))
                    .map_err(RunError::Thread)
            })
            .collect::<Result<_, _>>()?;
        Ok(Session {
            settled,
            watcher,
            before,
            messages,
            stage,
            threads,
            stop,
        })
    }

    /// Performs one round. `plan` may differ from the one that the session was opened with in its scenarios and its
    /// warm-up, and may need no more connections; everything else was settled then.
    ///
    /// # Errors
    ///
    /// As [`run`]; the session is of no use afterwards.
    pub(crate) fn round(
        &mut self,
        plan: &Plan,
        mut progress: impl FnMut(&Second),
    ) -> Result<Measurement, RunError> {
        let mut watcher = self.watcher.clone();
        let mut controller = Controller {
            settled: &self.settled,
            round: Arc::new(Round::new(plan, &self.settled.fleet)?),
            messages: &self.messages,
            series: Series::default(),
            progress: &mut progress,
        };
        let (measurement, (start, end)) =
            controller.conduct(&self.stage, &mut watcher, &self.before, &self.stop)?;
        let series = controller.series.into_seconds();
        let (watched, generator) = watcher.finish(&self.before, &start, &end);
        Ok(Measurement {
            series,
            watched,
            generator: Some(generator),
            ..measurement
        })
    }

    /// Closes the connections that are still open and ends the shards.
    ///
    /// # Errors
    ///
    /// A shard has died.
    pub(crate) fn close(self) -> Result<(), RunError> {
        let _ = self.stage.send(Stage::Close);
        for thread in self.threads {
            thread.join().map_err(|_| RunError::ShardDied)?;
        }
        Ok(())
    }
}

struct Controller<'run, P> {
    settled: &'run Settled,
    round: Arc<Round>,
    messages: &'run mpsc::Receiver<Message>,
    series: Series,
    progress: &'run mut P,
}

impl<P: FnMut(&Second)> Controller<'_, P> {
    fn conduct(
        &mut self,
        stage: &watch::Sender<Stage>,
        watcher: &mut Watch,
        before: &Looks,
        stop: &Stop,
    ) -> Result<(Measurement, (Looks, Looks)), RunError> {
        let shards = self.settled.shards;
        let _ = stage.send(Stage::Prepare(Arc::clone(&self.round)));
        let mut unprepared = 0;
        for _ in 0..shards {
            if let Message::Ready { unprepared: more } = self.next()? {
                unprepared += more;
            }
        }
        let origin = self.origin(stop)?;
        let load_started_at = SystemTime::now() + origin.saturating_duration_since(Instant::now());
        let _ = stage.send(Stage::Run(origin));

        // The window's start is a moment of the clock; its end is when the last shard has drained.
        let window_start = origin + self.round.plan.warmup;
        let mut drained = Vec::new();
        let mut looked = None;
        let mut last_released = None;
        while drained.len() < shards {
            let wait_until = looked.is_none().then_some(window_start);
            match self.next_until(wait_until)? {
                Some(Message::Drained {
                    open,
                    released,
                    core,
                }) => {
                    last_released = last_released.max(Some(released));
                    drained.push((open, core));
                }
                Some(_) => {}
                None => looked = Some((watcher.look(), MachineTime::now(), SystemTime::now())),
            }
        }
        let ended = Instant::now();
        let (start_look, machine_at_start, started_at) =
            looked.unwrap_or_else(|| (before.clone(), MachineTime::default(), SystemTime::now()));
        let end_look = watcher.look();
        let machine = MachineTime::now();
        let _ = stage.send(Stage::Collect);

        let scenarios = self.samples()?;
        let mut recorder = Recorder::new();
        for scenario in &scenarios {
            recorder.merge(&scenario.recorder);
        }
        let interrupted = stop.is_requested();
        let since_start = |end: Instant| end.saturating_duration_since(window_start);
        let window = match self.round.plan.window() {
            _ if interrupted => since_start(ended),
            Some(window) => window,
            // What is to be done until all of it is done ends with its last outcome; beside it, others end at their time.
            None => match self
                .round
                .plan
                .scenarios
                .iter()
                .filter_map(Scenario::end)
                .max()
            {
                None => since_start(ended),
                Some(latest) => latest.max(last_released.map_or(Duration::ZERO, since_start)),
            },
        };
        let measurement = Measurement {
            load_started_at,
            started_at,
            window,
            recorder,
            scenarios,
            series: Vec::new(),
            open_at_end: drained.iter().map(|(open, _)| open).sum(),
            devices: self.settled.fleet.len(),
            faults: bad_devices(&self.settled.fleet),
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
            generator: None,
            interrupted,
        };
        Ok((measurement, (start_look, end_look)))
    }

    /// What all shards together have of each scenario.
    fn samples(&mut self) -> Result<Vec<ScenarioSamples>, RunError> {
        let mut sum: Vec<ScenarioSamples> = Vec::new();
        let mut missing = self.settled.shards;
        while missing > 0 {
            let Message::Finished(samples) = self.next()? else {
                continue;
            };
            missing -= 1;
            if sum.is_empty() {
                sum = samples;
            } else {
                sum.iter_mut()
                    .zip(&samples)
                    .for_each(|(sum, more)| sum.merge(more));
            }
        }
        Ok(sum)
    }

    /// When the load begins: at the plan's time, or as soon as every shard knows of it.
    fn origin(&mut self, stop: &Stop) -> Result<Instant, RunError> {
        let Some(at) = self.round.plan.start_at else {
            return Ok(Instant::now() + LEAD);
        };
        loop {
            let left = at.after(SystemTime::now()).map_err(|late| RunError::Late {
                at,
                late: Duration::from_millis(u64::try_from(late.as_millis()).unwrap_or(u64::MAX)),
            })?;
            if left <= CLOCK_LOOK || stop.is_requested() {
                return Ok(Instant::now() + left.min(CLOCK_LOOK));
            }
            // Only messages of failure can come now. The wall clock may be set meanwhile, so it is asked again.
            self.next_until(Some(Instant::now() + CLOCK_LOOK / 2))?;
        }
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
    let _alert = Alert::of_thread(messages.clone());
    if let Err(fatal) = drive_shard(settled, index, &messages, stage, stop) {
        // Nobody listens any more if another shard has failed before.
        let _ = messages.send(Message::Fatal(fatal));
    }
}

fn drive_shard(
    settled: &Settled,
    index: usize,
    messages: &mpsc::Sender<Message>,
    mut stage: watch::Receiver<Stage>,
    stop: Stop,
) -> Result<(), Fatal> {
    let plan = &settled.plan;
    let share = Share {
        index,
        of: settled.shards,
    };
    let devices = Rc::new(settled.fleet.devices(index, settled.shards));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(Fatal::Io)?;
    runtime.block_on(async {
        let connector = Rc::new(Connector {
            address: settled.address,
            server_name: settled.server_name.clone(),
            source_addresses: plan.source_addresses,
            distances: plan.distances.clone(),
            configuration: settled.configuration.clone(),
            open: Rc::new(OpenConnections::default()),
        });
        let mut earlier: Option<Rc<Shard>> = None;
        let is_order = |stage: &Stage| matches!(stage, Stage::Prepare(_) | Stage::Close);
        // Without a controller there is nothing more to do.
        while let Some(Stage::Prepare(round)) = release::next_stage(&mut stage, is_order).await {
            let casts = round.plan.scenarios.iter().zip(&round.parts).enumerate();
            let casts = casts
                .map(|(number, (scenario, part))| {
                    Cast::new(&round.plan, number, scenario, part, share)
                })
                .map(|cast| cast.map(Rc::new))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| Fatal::Io(std::io::ErrorKind::InvalidInput.into()))?;
            let (devices, connector) = (Rc::clone(&devices), Rc::clone(&connector));
            let shard = Shard::new(
                Arc::clone(&settled.fleet),
                devices,
                connector,
                casts,
                &round.plan,
                messages.clone(),
            );
            if let Some(earlier) = earlier {
                shard.inherit(&earlier).await;
            }
            let shard = Rc::new(shard);
            release::round(&shard, &round.plan, &mut stage, stop.clone().receiver())
                .await
                .map_err(Fatal::Io)?;
            earlier = Some(shard);
        }
        if let Some(shard) = earlier {
            shard.close_held().await;
        }
        Ok(())
    })
}

/// Opens the plan's fleet, or its segment's part of it; `observer` is told how far it is, and can end it.
///
/// # Errors
///
/// What the operator has to mend before there is a fleet.
pub fn open_fleet(
    plan: &Plan,
    observer: impl FnMut(Opened) -> ControlFlow<()>,
) -> Result<Arc<Fleet>, RunError> {
    let part = plan.segment.share(0, 1);
    let provider = tls::provider(&plan.groups);
    let keys = provider.key_provider;
    let fleet = Fleet::open(&plan.fleet, plan.devices, plan.seed, part, keys, observer)?;
    Ok(Arc::new(fleet))
}

/// The revocation list, as PEM, of the devices of a plan's minted fleet that have the fault `revoked`. The server must have it
/// before the load begins.
///
/// # Errors
///
/// The fleet is not a minted one, or its issuer cannot be used.
pub fn revocation_list(plan: &Plan) -> Result<String, FleetError> {
    let keys = tls::provider(&plan.groups).key_provider;
    fleet::revocation_list(&plan.fleet, plan.devices, plan.seed, keys)
}

fn bad_devices(fleet: &Fleet) -> Vec<BadDevices> {
    let faults = fleet.faults().iter().enumerate();
    faults
        .map(|(at, fault)| BadDevices {
            fault: fault.name.clone(),
            alert: fault.alert,
            devices: fleet.devices_with_fault(at),
        })
        .collect()
}

fn settle(plan: &Plan, fleet: &Arc<Fleet>) -> Result<Settled, RunError> {
    let round = Round::new(plan, fleet)?;
    let mut protocols = plan
        .scenarios
        .iter()
        .map(|scenario| scenario.activity.exchange.protocol());
    let speaks_http = protocols.any(|protocol| matches!(protocol, Protocol::Http1 | Protocol::H2));
    if plan.verify_identity.is_some() && !speaks_http {
        return Err(RunError::NothingEchoed);
    }
    let most = round.most_connections().min(fleet.len());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A shard without a device would have nothing to do.
    let shards = plan.shards.unwrap_or(cores).clamp(1, round.most_busy());
    limits::descriptors_for(most, shards).map_err(|limit| RunError::TooManyConnections {
        needed: most,
        limit,
    })?;
    let server_name = ServerName::try_from(plan.target.host.clone())
        .map_err(|_| RunError::ServerName(plan.target.host.clone()))?;
    let provider = tls::provider(&plan.groups);
    let address = resolve(plan)?;
    if let Some((first, _)) = plan.source_addresses.ends()
        && first.is_ipv4() != address.is_ipv4()
    {
        return Err(RunError::SourceFamily {
            sources: plan.source_addresses,
            address,
        });
    }
    Ok(Settled {
        address,
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
