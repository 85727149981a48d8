//! Storms in a simulation: devices that arrive, wait, give up and think, one server that works on one thing at a time, and the
//! queue between them. Everything follows from the seed.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use super::{Bounds, Kind, Next, Queue, Settings, Waits};

/// What the server's work costs. A full handshake and accepting it come to 1.67 ms, so that it can serve 600 a second.
const ACCEPT: Duration = Duration::from_micros(45);
const HELLO: Duration = Duration::from_micros(780);
const ANSWER: Duration = Duration::from_micros(845);
const SHED: Duration = Duration::from_micros(30);
const CAPACITY: f64 = 600.0;

/// As many are shed at once as in the gateway.
const SHED_AT_ONCE: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Storm {
    /// Arrivals in a second, in capacities.
    offered: f64,
    /// Instead: so many devices, all at once, each of which comes again when it has been served.
    fleet: Option<usize>,
    lasts: Duration,
    /// There and back, of every device with an even number, and of the others.
    away: [Duration; 2],
    /// When devices give up, of those with an even number, and of the others.
    patience: [Duration; 2],
    settings: Settings,
    /// Whether the queue hears of devices that leave.
    hears: bool,
    seed: u64,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            offered: 2.0,
            fleet: None,
            lasts: Duration::from_secs(20),
            away: [Duration::from_millis(60); 2],
            patience: [Duration::from_millis(1500); 2],
            settings: Settings::default(),
            hears: true,
            seed: 1,
        }
    }
}

/// What became of the devices.
#[derive(Debug, Default)]
struct Came {
    arrived: u32,
    served: u32,
    shed: u32,
    gave_up: u32,
    /// When the last one was shed, or gave up.
    last_lost: Duration,
    /// The longest from arrival to being served.
    slowest: Duration,
    /// Served in each second.
    by_second: Vec<u32>,
}

impl Came {
    /// Served in a second, of capacity, while the storm lasted; without the first second, in which devices are under way.
    fn goodput(&self) -> f64 {
        let seconds = &self.by_second[1..];
        f64::from(seconds.iter().sum::<u32>()) / (seconds.len() as f64 * CAPACITY)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    SaysHello(usize),
    Answers(usize),
    GivesUp(usize),
    IsServed(usize),
    /// The server is done with what it did.
    IsFree,
}

/// How far a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Queued(Kind),
    Thinking { since: Duration },
    Answered,
    Gone,
}

struct Device {
    arrived: Duration,
    stage: Rc<Cell<Stage>>,
}

struct Waiter(usize, Rc<Cell<Stage>>);

impl Waits for Waiter {
    fn has_left(&self) -> bool {
        self.1.get() == Stage::Gone
    }
}

struct Simulation {
    storm: Storm,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    devices: Vec<Device>,
    queue: Queue<Waiter>,
    /// Connections to accept: they go before turns, as in the gateway.
    accepting: Duration,
    busy: bool,
    came: Came,
}

fn run(storm: Storm) -> Came {
    let mut simulation = Simulation {
        storm,
        now: Duration::ZERO,
        events: BinaryHeap::new(),
        devices: Vec::new(),
        queue: Queue::new(storm.settings),
        accepting: Duration::ZERO,
        busy: false,
        came: Came {
            by_second: vec![0; storm.lasts.as_secs() as usize],
            ..Came::default()
        },
    };
    simulation.arrivals();
    while let Some(Reverse((at, event))) = simulation.events.pop() {
        simulation.now = at;
        simulation.happens(event);
        if !simulation.busy {
            simulation.work();
        }
    }
    simulation.came
}

impl Simulation {
    /// Arrivals at random and independent of each other.
    fn arrivals(&mut self) {
        if let Some(fleet) = self.storm.fleet {
            (0..fleet).for_each(|_| self.arrives(Duration::ZERO));
            return;
        }
        let mut random = self.storm.seed;
        let mut at = Duration::ZERO;
        loop {
            // SplitMix64.
            random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let uniform = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
            at += Duration::from_secs_f64(-(1.0 - uniform).ln() / (self.storm.offered * CAPACITY));
            if at >= self.storm.lasts {
                return;
            }
            self.arrives(at);
        }
    }

    fn arrives(&mut self, at: Duration) {
        let device = self.devices.len();
        self.devices.push(Device {
            arrived: at,
            stage: Rc::new(Cell::new(Stage::Connecting)),
        });
        self.schedule(at, Event::Arrives(device));
        self.schedule(at + self.storm.patience[device % 2], Event::GivesUp(device));
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.events.push(Reverse((at, event)));
    }

    fn away(&self, device: usize) -> Duration {
        self.storm.away[device % 2]
    }

    fn happens(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Arrives(device) => {
                self.came.arrived += 1;
                self.accepting += ACCEPT;
                self.schedule(now + self.away(device), Event::SaysHello(device));
            }
            Event::SaysHello(device) => self.waits(device, Stage::Connecting, Kind::FullHello),
            Event::Answers(device) => {
                if let Stage::Thinking { since } = self.devices[device].stage.get() {
                    self.queue.thought(now - since, now);
                    self.waits(device, Stage::Thinking { since }, Kind::Answer);
                }
            }
            Event::GivesUp(device) => {
                let stage = self.devices[device].stage.get();
                if stage == Stage::Gone {
                    return;
                }
                self.came.gave_up += 1;
                self.came.last_lost = now;
                self.devices[device].stage.set(Stage::Gone);
                let arrived = self.devices[device].arrived;
                match stage {
                    _ if !self.storm.hears => {}
                    Stage::Queued(kind) => {
                        self.queue.left(arrived, now);
                        self.queue.gave_up(kind, now);
                    }
                    Stage::Thinking { .. } => self.queue.left(arrived, now),
                    _ => {}
                }
            }
            Event::IsServed(device) => {
                if self.devices[device].stage.get() != Stage::Gone {
                    self.devices[device].stage.set(Stage::Gone);
                    self.came.served += 1;
                    let took = now - self.devices[device].arrived;
                    self.came.slowest = self.came.slowest.max(took);
                    if let Some(second) = self.came.by_second.get_mut(now.as_secs() as usize) {
                        *second += 1;
                    }
                    if self.storm.fleet.is_some() && now < self.storm.lasts {
                        self.arrives(now);
                    }
                }
            }
            Event::IsFree => self.busy = false,
        }
    }

    fn waits(&mut self, device: usize, if_still: Stage, kind: Kind) {
        let Device { arrived, stage } = &self.devices[device];
        if stage.get() == if_still {
            stage.set(Stage::Queued(kind));
            let waiter = Waiter(device, Rc::clone(stage));
            self.queue.push(kind, waiter, *arrived, self.now);
        }
    }

    fn work(&mut self) {
        let mut took = std::mem::take(&mut self.accepting);
        for _ in 0..SHED_AT_ONCE {
            let Some(waiter) = self.queue.too_late(self.now) else {
                break;
            };
            took += self.shed(&waiter);
        }
        if took == Duration::ZERO {
            match self.queue.next(self.now) {
                None => return,
                Some(Next::TooLate(waiter)) => took = self.shed(&waiter),
                Some(Next::Turn { who, .. }) => took = self.turn(&who),
            }
        }
        self.busy = true;
        self.schedule(self.now + took, Event::IsFree);
    }

    fn shed(&mut self, waiter: &Waiter) -> Duration {
        waiter.1.set(Stage::Gone);
        self.came.shed += 1;
        self.came.last_lost = self.now;
        SHED
    }

    /// Gives a turn, and says how long it takes.
    fn turn(&mut self, waiter: &Waiter) -> Duration {
        let Stage::Queued(kind) = waiter.1.get() else {
            panic!("a turn for one who does not wait: {:?}", waiter.1);
        };
        let took = if kind == Kind::Answer { ANSWER } else { HELLO };
        let (done, away) = (self.now + took, self.away(waiter.0));
        self.queue.worked(kind, took);
        if kind == Kind::Answer {
            waiter.1.set(Stage::Answered);
            self.schedule(done + away, Event::IsServed(waiter.0));
        } else {
            waiter.1.set(Stage::Thinking { since: done });
            self.schedule(done + away, Event::Answers(waiter.0));
        }
        took
    }
}

fn millis(of: u64) -> Duration {
    Duration::from_millis(of)
}

const NEAR: [Duration; 2] = [Duration::from_millis(60); 2];
const HALF_FAR: [Duration; 2] = [Duration::from_millis(60), Duration::from_millis(300)];

#[test]
fn goodput_stays_near_capacity_in_any_storm() {
    for offered in [1.1, 1.5, 2.0, 5.0] {
        for away in [NEAR, HALF_FAR] {
            for patience in [millis(1_000), millis(1_500), millis(4_000), millis(30_000)] {
                for seed in [1, 2] {
                    let storm = Storm {
                        offered,
                        away,
                        patience: [patience; 2],
                        seed,
                        ..Storm::default()
                    };
                    let came = run(storm);
                    // What accepting and shedding the others costs can be served to nobody.
                    let others = (offered - 1.0) * CAPACITY * (ACCEPT + SHED).as_secs_f64();
                    let least = 0.92 - others;
                    assert!(came.goodput() > least, "{} in {storm:?}", came.goodput());
                }
            }
        }
    }
}

#[test]
fn no_second_of_a_storm_is_lost() {
    for away in [NEAR, HALF_FAR] {
        let came = run(Storm {
            away,
            ..Storm::default()
        });
        for (second, served) in came.by_second.iter().enumerate().skip(1) {
            assert!(*served > 500, "{served} in second {second}");
        }
    }
}

#[test]
fn the_impatient_among_the_patient_are_served_too() {
    let came = run(Storm {
        offered: 3.0,
        patience: [millis(800), millis(10_000)],
        ..Storm::default()
    });
    assert!(came.goodput() > 0.85, "{}", came.goodput());
}

#[test]
fn a_burst_that_can_be_served_is_served_whole() {
    for (offered, seed) in [(1.5, 1), (2.0, 2), (3.3, 3)] {
        let came = run(Storm {
            offered,
            lasts: millis(1_000),
            patience: [millis(5_000); 2],
            seed,
            ..Storm::default()
        });
        assert_eq!((came.shed, came.gave_up), (0, 0), "{came:?}");
        assert_eq!(came.served, came.arrived);
    }
}

#[test]
fn a_fleet_that_can_be_served_in_its_order_is_again() {
    // All at once they wait longer than is kept in order, and some in vain. From then on there are just so many as can be served.
    for (away, backlog) in [(NEAR, 0.15), (HALF_FAR, 0.15), (NEAR, 0.05)] {
        let journey = 3.0 * (away[0] + away[1]).as_secs_f64() / 2.0;
        let storm = Storm {
            fleet: Some((CAPACITY * (journey + backlog)) as usize),
            away,
            ..Storm::default()
        };
        let came = run(storm);
        assert!(came.last_lost < millis(3_000), "{came:?} in {storm:?}");
        assert!(came.goodput() > 0.95, "{}", came.goodput());
    }
}

#[test]
fn nobody_waits_long_below_capacity() {
    let came = run(Storm {
        offered: 0.9,
        ..Storm::default()
    });
    assert_eq!(came.served, came.arrived);
    // Three times there and back, and a short queue.
    assert!(came.slowest < millis(180 + 120), "{:?}", came.slowest);
}

/// That the figures above are the queue's merit.
#[test]
fn other_orders_fail() {
    let never = Duration::from_secs(1_000_000);
    let patient = Bounds {
        min: never,
        max: never,
    };
    let first_come_first_served = Settings {
        newest_first_after: never,
        patience: patient,
    };
    let came = run(Storm {
        settings: first_come_first_served,
        hears: false,
        ..Storm::default()
    });
    assert!(came.goodput() < 0.35, "{}", came.goodput());
    let impatient = Settings {
        newest_first_after: Duration::ZERO,
        patience: Bounds {
            min: millis(300),
            max: millis(300),
        },
    };
    let came = run(Storm {
        offered: 1.5,
        lasts: millis(1_000),
        patience: [millis(5_000); 2],
        settings: impatient,
        ..Storm::default()
    });
    assert!(came.shed > 50, "{came:?}");
}
