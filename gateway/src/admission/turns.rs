//! Gives out turns of public-key work, one at a time, with a look at the sockets between them.
//!
//! A turn is held across no await: whoever has it computes and drops it. The keeper then yields to the runtime, which polls
//! the sockets and runs whatever became ready, and only then passes the turn on. Who is next is the [`queue`]'s decision.
//!
//! [`queue`]: crate::admission::queue

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::admission::Shed;
use crate::admission::intake::Intake;
use crate::admission::parked::Parked;
use crate::admission::queue::{Kind, Next, Queue, Settings, Waits};
use crate::clock;
use crate::metrics;

/// The most that are shed between two turns: as much work as one more turn, where a whole town is too old at once.
const SHED_AT_ONCE: usize = 8;

/// How often operators are shown what the queue goes by.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// The turns of one worker.
#[derive(Debug)]
pub struct Turns {
    queue: RefCell<Queue<Place>>,
    /// The fixed moment that the queue's times are since.
    start: Instant,
    taken: Cell<bool>,
    intake: Cell<Intake>,
    over: Notify,
    metrics: metrics::Admission,
    shown: Cell<Duration>,
}

/// A place in the queue.
#[derive(Debug)]
enum Place {
    /// Of a task that waits.
    Task(oneshot::Sender<Result<Turn, Shed>>),
    /// Of a connection without a task.
    Parked(Box<Parked>),
}

impl Waits for Place {
    fn has_left(&self) -> bool {
        match self {
            Self::Task(give) => give.is_closed(),
            Self::Parked(_) => false,
        }
    }
}

/// The right to do one piece of public-key work now.
#[derive(Debug)]
pub struct Turn {
    kind: Kind,
    begun: Instant,
    /// `None` in one that was never used.
    turns: Option<Rc<Turns>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = &self.turns {
            let took = clock::now().saturating_duration_since(self.begun);
            turns.queue.borrow_mut().worked(self.kind, took);
            turns.over.notify_one();
        }
    }
}

impl Turns {
    /// Turns by `settings`, of which nobody has one.
    pub fn new(settings: Settings, metrics: metrics::Admission) -> Self {
        Self {
            queue: RefCell::new(Queue::new(settings)),
            start: clock::now(),
            taken: Cell::new(false),
            intake: Cell::default(),
            over: Notify::new(),
            metrics,
            shown: Cell::default(),
        }
    }

    /// Goes by `settings` from now on.
    pub fn set(&self, settings: Settings) {
        self.queue.borrow_mut().set(settings);
    }

    /// Waits for a turn for a connection that was accepted at `accepted`. Cancel safe: who stops waiting is passed over.
    ///
    /// # Errors
    /// The connection is to be shed: a handshake would come too late, or its place is needed.
    pub async fn take(self: &Rc<Self>, kind: Kind, accepted: Instant) -> Result<Turn, Shed> {
        let now = clock::now();
        if !self.taken.replace(true) {
            return Ok(self.turn(kind, now));
        }
        let (give, given) = oneshot::channel();
        self.queue.borrow_mut().push(
            kind,
            Place::Task(give),
            self.since_start(accepted),
            self.since_start(now),
        );
        let _waiting = self.metrics.waiting(kind);
        // The keeper goes when the worker does.
        let mut turn = given.await.map_err(|_| Shed::TooLate)??;
        turn.begun = clock::now();
        Ok(turn)
    }

    /// Sheds the hello that has waited longest, for `reason`, so that a new connection can have its place. `false` where
    /// nobody is to be shed for a new one.
    pub fn make_room(&self, reason: Shed) -> bool {
        let Some(place) = self.queue.borrow_mut().make_room(self.now()) else {
            return false;
        };
        self.shed(place, reason);
        true
    }

    /// Lets a connection wait that has no task. Its turn is given to what [`Turns::keep`] was given.
    pub fn park(&self, kind: Kind, parked: Parked) {
        let accepted = self.since_start(parked.admitted.at());
        let place = Place::Parked(Box::new(parked));
        self.queue
            .borrow_mut()
            .push(kind, place, accepted, self.now());
    }

    /// Whether more full handshakes are asked for than can be served.
    pub fn is_storm(&self) -> bool {
        self.queue.borrow().is_newest_first(Kind::FullHello)
    }

    /// Whether one more connection may be accepted in a storm; if so, it counts. Where nobody waits, it may.
    pub fn may_accept(&self) -> bool {
        let mut intake = self.intake.get();
        let allowed = intake.allows(self.queue.borrow().hellos());
        self.intake.set(intake);
        allowed || !self.taken.get()
    }

    fn shed(&self, place: Place, reason: Shed) {
        match place {
            // Who has left by now is told nothing.
            Place::Task(give) => drop(give.send(Err(reason))),
            Place::Parked(parked) => {
                parked.admitted.reset();
                self.metrics.shed(reason);
            }
        }
    }

    /// A device left before its handshake was done, whose connection was accepted at `accepted`.
    pub fn left(&self, accepted: Instant) {
        let now = self.now();
        self.queue
            .borrow_mut()
            .left(self.since_start(accepted), now);
    }

    /// A device left before it got the turn that its hello of `kind` waited for, or was about to wait for. When it left need
    /// not be known.
    pub fn gave_up(&self, kind: Kind) {
        let now = self.now();
        self.queue.borrow_mut().gave_up(kind, now);
    }

    /// A device answered our flight, which was sent at `sent`.
    pub fn answered(&self, sent: Instant) {
        let now = self.now();
        let time = now.saturating_sub(self.since_start(sent));
        self.queue.borrow_mut().thought(time, now);
    }

    /// Passes turns on, for as long as the worker runs; those of parked connections to `resume`.
    pub async fn keep(self: Rc<Self>, resume: impl Fn(Parked, Turn)) {
        loop {
            self.over.notified().await;
            // tokio wakes who yields only after it has polled the sockets.
            tokio::task::yield_now().await;
            self.pass_on(&resume);
        }
    }

    /// Shows operators what the queue goes by.
    pub fn show(&self) {
        let now = self.now();
        self.shown.set(now);
        let queue = self.queue.borrow();
        self.metrics.patience(queue.patience(now));
        for kind in [Kind::ResumedHello, Kind::FullHello] {
            self.metrics.order(kind, queue.is_newest_first(kind));
        }
    }

    fn pass_on(self: &Rc<Self>, resume: &impl Fn(Parked, Turn)) {
        let now = self.now();
        for _ in 0..SHED_AT_ONCE {
            let Some(late) = self.queue.borrow_mut().too_late(now) else {
                break;
            };
            self.shed(late, Shed::TooLate);
        }
        self.give_next(now, resume);
        if now.saturating_sub(self.shown.get()) > SHOWN_EVERY {
            self.show();
        }
    }

    fn give_next(self: &Rc<Self>, now: Duration, resume: &impl Fn(Parked, Turn)) {
        loop {
            let Some(next) = self.queue.borrow_mut().next(now) else {
                self.taken.set(false);
                return;
            };
            match next {
                Next::TooLate(place) => self.shed(place, Shed::TooLate),
                Next::Turn { who, kind, waited } => {
                    self.metrics.waited(kind, waited);
                    if kind != Kind::Answer {
                        let mut intake = self.intake.get();
                        intake.served(now);
                        self.intake.set(intake);
                    }
                    let turn = self.turn(kind, self.start + now);
                    match who {
                        Place::Parked(parked) => return resume(*parked, turn),
                        // A receiver that is gone hands the turn back, and dropping that must not count as a turn that
                        // was used. One that goes after this drops the turn as it is, which does.
                        Place::Task(give) => match give.send(Ok(turn)) {
                            Err(Ok(mut unused)) => unused.turns = None,
                            Ok(()) | Err(Err(_)) => return,
                        },
                    }
                }
            }
        }
    }

    fn turn(self: &Rc<Self>, kind: Kind, begun: Instant) -> Turn {
        Turn {
            kind,
            begun,
            turns: Some(Rc::clone(self)),
        }
    }

    fn now(&self) -> Duration {
        self.since_start(clock::now())
    }

    fn since_start(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use super::Turns;
    use crate::admission::Shed;
    use crate::admission::patience::Bounds;
    use crate::admission::queue::{Kind, Settings};
    use crate::clock;
    use crate::metrics::Metrics;

    fn turns(settings: Settings) -> Rc<Turns> {
        let metrics = Metrics::new(&[]).unwrap();
        let turns = Rc::new(Turns {
            // So that connections may be older than the test.
            start: clock::now() - Duration::from_secs(60),
            ..Turns::new(settings, metrics.admission())
        });
        tokio::task::spawn_local(Rc::clone(&turns).keep(|_, _| panic!("nobody is parked")));
        turns
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn one_turn_at_a_time_answers_first() {
        run(async {
            let turns = turns(Settings::default());
            let now = clock::now();
            let first = turns.take(Kind::FullHello, now).await.unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            let waiters: Vec<_> = [
                Kind::FullHello,
                Kind::ResumedHello,
                Kind::Answer,
                Kind::FullHello,
            ]
            .map(|kind| {
                let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
                tokio::task::spawn_local(async move {
                    let turn = turns.take(kind, now).await;
                    order.borrow_mut().push(kind);
                    drop(turn);
                })
            })
            .into();
            tokio::task::yield_now().await;
            assert!(
                order.borrow().is_empty(),
                "nobody has a turn while another has it"
            );
            drop(first);
            for waiter in waiters {
                waiter.await.unwrap();
            }
            let expected = [
                Kind::Answer,
                Kind::ResumedHello,
                Kind::FullHello,
                Kind::FullHello,
            ];
            assert_eq!(*order.borrow(), expected);
        });
    }

    #[test]
    fn who_stops_waiting_is_passed_over() {
        run(async {
            let turns = turns(Settings::default());
            let now = clock::now();
            let first = turns.take(Kind::FullHello, now).await.unwrap();
            let waiting = Rc::clone(&turns);
            let gone =
                tokio::task::spawn_local(
                    async move { waiting.take(Kind::Answer, now).await.is_ok() },
                );
            tokio::task::yield_now().await;
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
            drop(first);
            assert!(turns.take(Kind::FullHello, now).await.is_ok());
        });
    }

    /// Waits in a task of its own for a turn that is used at once.
    fn waits(turns: &Rc<Turns>, accepted: Instant) -> tokio::task::JoinHandle<Result<(), Shed>> {
        let turns = Rc::clone(turns);
        tokio::task::spawn_local(
            async move { turns.take(Kind::FullHello, accepted).await.map(drop) },
        )
    }

    /// The newest go first as soon as anybody waits.
    const NEWEST_FIRST: Settings = Settings {
        newest_first_after: Duration::ZERO,
        patience: Bounds {
            min: Duration::from_secs(5),
            max: Duration::from_secs(5),
        },
    };

    #[test]
    fn who_is_too_old_is_shed_and_the_turn_goes_on() {
        run(async {
            let turns = turns(NEWEST_FIRST);
            let now = clock::now();
            let long_ago = now - Duration::from_secs(6);
            let first = turns.take(Kind::FullHello, now).await.unwrap();
            // More than are shed at once, and one whose turn it then is.
            let old: Vec<_> = (0..40).map(|_| waits(&turns, long_ago)).collect();
            let young = waits(&turns, now);
            tokio::task::yield_now().await;
            drop(first);
            assert_eq!(young.await.unwrap(), Ok(()));
            for waiter in old {
                assert_eq!(waiter.await.unwrap(), Err(Shed::TooLate));
            }
            let later = waits(&turns, long_ago).await.unwrap();
            assert_eq!(later, Ok(()), "who need not wait is never too late");
        });
    }

    #[test]
    fn room_is_made_by_who_waits_longest() {
        run(async {
            let turns = turns(NEWEST_FIRST);
            let now = clock::now();
            let first = turns.take(Kind::FullHello, now).await.unwrap();
            assert!(!turns.make_room(Shed::Handshakes), "nobody waits");
            let (oldest, newest) = (waits(&turns, now), waits(&turns, now));
            tokio::task::yield_now().await;
            assert!(turns.make_room(Shed::Handshakes));
            assert_eq!(oldest.await.unwrap(), Err(Shed::Handshakes));
            drop(first);
            assert_eq!(newest.await.unwrap(), Ok(()));
        });
    }
}
