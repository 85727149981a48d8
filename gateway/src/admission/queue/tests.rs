use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Bounds, Kind, Next, Queue, Settings, Waits};

/// A waiter with a number, who may leave.
#[derive(Debug, Clone)]
struct Device(u32, Rc<Cell<bool>>);

impl Device {
    fn new(number: u32) -> Self {
        Self(number, Rc::default())
    }
}

impl Waits for Device {
    fn has_left(&self) -> bool {
        self.1.get()
    }
}

const SETTINGS: Settings = Settings {
    newest_first_after: Duration::from_millis(200),
    patience: Bounds {
        min: Duration::from_millis(500),
        max: Duration::from_secs(4),
    },
};

fn millis(of: u64) -> Duration {
    Duration::from_millis(of)
}

fn queue(waiting: &[(Kind, u32, u64)]) -> Queue<Device> {
    let mut queue = Queue::new(SETTINGS);
    for (kind, number, at) in waiting {
        queue.push(*kind, Device::new(*number), millis(*at), millis(*at));
    }
    queue
}

/// Everybody in the order of their turns at `now`; who is too late is negative.
fn order(queue: &mut Queue<Device>, now: u64) -> Vec<i64> {
    std::iter::from_fn(|| queue.next(millis(now)))
        .map(|next| match next {
            Next::Turn { who, .. } => i64::from(who.0),
            Next::TooLate(device) => -i64::from(device.0),
        })
        .collect()
}

#[test]
fn answers_go_first_then_tickets_and_each_kind_keeps_its_order() {
    let mut queue = queue(&[
        (Kind::FullHello, 1, 0),
        (Kind::Answer, 2, 1),
        (Kind::ResumedHello, 3, 2),
        (Kind::FullHello, 4, 3),
        (Kind::Answer, 5, 4),
        (Kind::ResumedHello, 6, 5),
    ]);
    assert_eq!(order(&mut queue, 100), [2, 5, 3, 6, 1, 4]);
}

#[test]
fn the_newest_go_first_once_somebody_has_waited_long() {
    let hellos = [1, 2, 3].map(|number| (Kind::FullHello, number, u64::from(number) * 10));
    assert_eq!(order(&mut queue(&hellos), 210), [1, 2, 3]);
    assert_eq!(order(&mut queue(&hellos), 211), [3, 2, 1]);
}

#[test]
fn the_first_go_first_again_when_the_queue_has_drained() {
    let mut queue = queue(&[(Kind::FullHello, 1, 0), (Kind::FullHello, 2, 100)]);
    let _ = queue.next(millis(250));
    assert!(queue.is_newest_first(Kind::FullHello));
    queue.push(Kind::FullHello, Device::new(3), millis(260), millis(260));
    queue.push(Kind::FullHello, Device::new(4), millis(270), millis(270));
    assert_eq!(
        queue.next(millis(270)).map(number),
        Some(4),
        "the first still waits"
    );
    assert_eq!(queue.next(millis(270)).map(number), Some(3));
    assert_eq!(queue.next(millis(270)).map(number), Some(1));
    for (at, expected) in [(280, [6, 5]), (580, [5, 6])] {
        for number in [5, 6] {
            let device = Device::new(number);
            queue.push(Kind::FullHello, device, millis(at), millis(at));
        }
        assert_eq!(order(&mut queue, at), expected);
    }
    assert!(!queue.is_newest_first(Kind::FullHello));
}

#[test]
fn the_newest_go_first_while_devices_give_up() {
    let mut queue = queue(&[]);
    // They were late already when they came here, and the queue looks short.
    queue.gave_up(Kind::FullHello, millis(1_000));
    for number in [1, 2] {
        let device = Device::new(number);
        queue.push(Kind::FullHello, device, millis(1_000), millis(1_000));
    }
    assert_eq!(order(&mut queue, 1_010), [2, 1]);
}

fn number(next: Next<Device>) -> u32 {
    match next {
        Next::Turn { who, .. } | Next::TooLate(who) => who.0,
    }
}

#[test]
fn tickets_and_others_change_their_order_apart() {
    let mut queue = queue(&[
        (Kind::FullHello, 1, 0),
        (Kind::FullHello, 2, 100),
        (Kind::ResumedHello, 3, 110),
        (Kind::ResumedHello, 4, 120),
    ]);
    assert_eq!(order(&mut queue, 300), [3, 4, 2, 1]);
}

#[test]
fn who_left_is_passed_over() {
    let mut queue = Queue::new(SETTINGS);
    let devices: Vec<Device> = (0..6).map(Device::new).collect();
    for (device, kind) in devices.iter().zip([
        Kind::Answer,
        Kind::Answer,
        Kind::ResumedHello,
        Kind::ResumedHello,
        Kind::FullHello,
        Kind::FullHello,
    ]) {
        queue.push(kind, device.clone(), millis(0), millis(0));
    }
    for gone in [0, 2, 4] {
        devices[gone].1.set(true);
    }
    assert_eq!(order(&mut queue, 10), [1, 3, 5]);
}

#[test]
fn who_left_does_not_change_the_order() {
    let mut queue = queue(&[]);
    let gone = Device::new(1);
    queue.push(Kind::FullHello, gone.clone(), millis(0), millis(0));
    for number in [2, 3] {
        queue.push(
            Kind::FullHello,
            Device::new(number),
            millis(300),
            millis(300),
        );
    }
    gone.1.set(true);
    assert_eq!(order(&mut queue, 310), [2, 3]);
}

#[test]
fn who_is_too_old_gets_no_turn() {
    let mut queue = queue(&[
        (Kind::FullHello, 1, 0),
        (Kind::FullHello, 2, 100),
        (Kind::FullHello, 3, 3_000),
    ]);
    assert!(queue.too_late(millis(4_000)).is_none());
    assert_eq!(
        queue.too_late(millis(4_001)).map(|device| device.0),
        Some(1)
    );
    assert!(queue.too_late(millis(4_001)).is_none(), "the second is not");
    // A hello that came long after its connection was accepted.
    queue.push(Kind::FullHello, Device::new(4), millis(0), millis(4_001));
    assert_eq!(order(&mut queue, 4_001), [-4, 3, 2]);
}

#[test]
fn a_slow_hello_is_served_while_the_queue_is_short() {
    let mut queue = queue(&[]);
    queue.push(Kind::FullHello, Device::new(1), millis(0), millis(9_000));
    assert!(queue.too_late(millis(9_100)).is_none());
    assert_eq!(order(&mut queue, 9_100), [1]);
}

#[test]
fn an_answer_is_never_too_late() {
    let mut queue = queue(&[]);
    queue.push(Kind::Answer, Device::new(1), millis(0), millis(9_000));
    assert!(queue.too_late(millis(9_000)).is_none());
    assert_eq!(order(&mut queue, 9_000), [1]);
}

#[test]
fn what_devices_show_decides_what_is_too_old() {
    let mut queue = queue(&[(Kind::FullHello, 1, 1_500)]);
    for _ in 0..20 {
        queue.left(millis(500), millis(2_000));
        queue.thought(millis(100), millis(2_000));
        queue.worked(Kind::FullHello, millis(10));
        queue.worked(Kind::Answer, millis(10));
    }
    // 1.5 s of patience, less two round trips of 100 ms and some 14 ms of work, within the precision of the estimate.
    assert!(queue.too_late(millis(2_600)).is_none());
    assert!(queue.too_late(millis(2_860)).is_some());
}

#[test]
fn room_is_made_by_the_oldest_once_the_newest_go_first() {
    let hellos = [1, 2, 3].map(|number| (Kind::FullHello, number, u64::from(number) * 10));
    let mut queue = queue(&hellos);
    assert!(queue.make_room(millis(200)).is_none());
    assert_eq!(queue.make_room(millis(300)).map(|device| device.0), Some(1));
    assert_eq!(order(&mut queue, 300), [3, 2]);
}

#[test]
fn other_settings_hold_at_once() {
    let mut queue = queue(&[(Kind::FullHello, 1, 0), (Kind::FullHello, 2, 1_000)]);
    assert!(queue.too_late(millis(1_001)).is_none());
    queue.set(Settings {
        patience: Bounds {
            min: millis(100),
            max: millis(1_000),
        },
        ..SETTINGS
    });
    assert_eq!(order(&mut queue, 1_001), [2, -1]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(Kind),
    Leave(usize),
    Next,
    TooLate,
    MakeRoom,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize).prop_map(|kind| Step::Push(Kind::ALL[kind])),
        1 => (0..200_usize).prop_map(Step::Leave),
        3 => Just(Step::Next),
        1 => Just(Step::TooLate),
        1 => Just(Step::MakeRoom),
        2 => (0..500_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, everybody who stays comes out exactly once, nobody who left does, and no hello while an answer waits.
    #[test]
    fn nobody_is_lost_or_doubled(steps in proptest::collection::vec(step(), 0..200)) {
        let mut queue = Queue::new(SETTINGS);
        let mut devices: Vec<(Device, Kind, bool)> = Vec::new();
        let mut now = millis(0);
        let take = |devices: &mut Vec<(Device, Kind, bool)>, device: &Device| {
            let entry = &mut devices[device.0 as usize];
            assert!(!entry.2, "taken twice");
            assert!(!device.has_left());
            entry.2 = true;
            entry.1
        };
        for step in steps {
            match step {
                Step::Push(kind) => {
                    let device = Device::new(devices.len() as u32);
                    queue.push(kind, device.clone(), now, now);
                    devices.push((device, kind, false));
                }
                Step::Leave(index) => {
                    if let Some((device, _, false)) = devices.get(index) {
                        device.1.set(true);
                        queue.left(millis(0), now);
                    }
                }
                Step::Next => {
                    let answers = devices
                        .iter()
                        .any(|(device, kind, taken)| *kind == Kind::Answer && !taken && !device.has_left());
                    match queue.next(now) {
                        Some(Next::Turn { who, kind, .. }) => {
                            prop_assert_eq!(take(&mut devices, &who), kind);
                            prop_assert_eq!(answers, kind == Kind::Answer);
                        }
                        Some(Next::TooLate(device)) => {
                            prop_assert!(take(&mut devices, &device) != Kind::Answer);
                        }
                        None => prop_assert!(devices.iter().all(|(device, _, taken)| *taken || device.has_left())),
                    }
                }
                Step::TooLate => {
                    if let Some(device) = queue.too_late(now) {
                        take(&mut devices, &device);
                    }
                }
                Step::MakeRoom => {
                    if let Some(device) = queue.make_room(now) {
                        take(&mut devices, &device);
                    }
                }
                Step::Wait(time) => now += millis(time),
            }
        }
        while let Some(Next::Turn { who, .. } | Next::TooLate(who)) = queue.next(now) {
            take(&mut devices, &who);
        }
        prop_assert!(devices.iter().all(|(device, _, taken)| *taken || device.has_left()));
    }
}
