//! Checks against a responder that answers when a test lets it, and as the test tells it to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc as tokio_mpsc;

use super::{Checked, Checker, Settings};
use crate::der::{self, Reader};
use crate::fetch::{self, HttpUrl};
use crate::ocsp::fixture::{NOW, Party, Response, good, refusal, revoked, unknown};
use crate::ocsp::request::Hash;
use crate::ocsp::subject::Subject;
use crate::ocsp::{Outcome, Reason, Standing};

const GOOD: Checked = Checked {
    standing: Standing::Good,
    outcome: Outcome::Good,
};
const CACHED: Checked = Checked {
    standing: Standing::Good,
    outcome: Outcome::Cached,
};

fn unavailable(reason: Reason, outcome: Outcome) -> Checked {
    Checked {
        standing: Standing::Unavailable(reason),
        outcome,
    }
}

fn failed(reason: Reason) -> Checked {
    unavailable(reason, Outcome::Failed(reason))
}

fn settings() -> Settings {
    Settings {
        responder: None,
        hash: Hash::Sha1,
        nonce: true,
        fetch: fetch::Settings {
            connect_timeout: Duration::from_secs(20),
            total_timeout: Duration::from_secs(20),
            max_bytes: 64 * 1024,
        },
        max_age: Duration::from_secs(300),
        without_next_update: Duration::from_secs(60),
        retry_interval: Duration::from_secs(30),
        cache_entries: 100,
        max_in_flight: 4,
        max_waiting: 4,
    }
}

fn checker(change: impl FnOnce(&mut Settings)) -> Arc<Checker> {
    let mut settings = settings();
    change(&mut settings);
    Arc::new(Checker::new(settings))
}

/// A responder that says when it was asked and answers when it is let.
struct Responder {
    url: String,
    asked: tokio_mpsc::UnboundedReceiver<()>,
    lets: mpsc::Sender<()>,
}

impl Responder {
    /// `answer` makes the response out of a CertID.
    fn start(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, asked) = tokio_mpsc::unbounded_channel();
        let (lets, let_go) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok((mut tcp, _)) = listener.accept() {
                let request = read_request(&mut tcp);
                let _ = sender.send(());
                if let_go.recv().is_err() {
                    return;
                }
                let body = answer(certificate_id(&request));
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                // Who asked may be gone.
                let _ = tcp.write_all(&[head.as_bytes(), &body].concat());
                let _ = tcp.shutdown(Shutdown::Write);
            }
        });
        Self { url, asked, lets }
    }

    /// One of `authority` that says `status` of everything.
    fn saying(status: Vec<u8>, authority: Arc<Party>) -> Self {
        Self::start(move |id| Response::new(id, &status, &authority).sign(&authority))
    }

    /// Lets it answer `times` times.
    fn release(&self, times: usize) {
        for _ in 0..times {
            self.lets.send(()).unwrap();
        }
    }

    async fn was_asked(&mut self) {
        self.asked.recv().await.unwrap();
    }

    fn was_not_asked(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

fn read_request(tcp: &mut TcpStream) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = tcp.read(&mut buffer).unwrap();
        assert!(read > 0, "the request ended early");
        message.extend_from_slice(&buffer[..read]);
        let Some(at) = message.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&message[..at]).unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if message.len() == at + 4 + length {
            return message.split_off(at + 4);
        }
    }
}

/// The CertID that a request asks about.
fn certificate_id(request: &[u8]) -> &[u8] {
    let mut reader = Reader::new(request);
    for _ in 0..4 {
        reader = reader.inside(der::SEQUENCE).unwrap();
    }
    reader.any().unwrap().whole
}

fn authority() -> Arc<Party> {
    Arc::new(Party::authority("authority"))
}

/// A runtime as a worker has it.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
        .block_on(future)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Lets `future` begin; it cannot end yet.
async fn begin<T>(future: Pin<&mut impl Future<Output = T>>) {
    tokio::select! {
        biased;
        _ = future => panic!("it ended"),
        () = std::future::ready(()) => {}
    }
}

/// An address at which nobody listens, and no other test will.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.77:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[test]
fn an_answer_is_asked_for_once_and_used_while_it_is_good() {
    for (says, standing, outcome) in [
        (good(), Standing::Good, Outcome::Good),
        (revoked(), Standing::Revoked, Outcome::Revoked),
        (unknown(), Standing::Unknown, Outcome::Unknown),
    ] {
        let authority = authority();
        let mut responder = Responder::saying(says, Arc::clone(&authority));
        responder.release(2);
        let subject = authority.subject(7, &[&responder.url]);
        let checker = checker(|_| {});
        run(async {
            let checked = checker.status(&subject, NOW).await;
            assert_eq!(checked, Checked { standing, outcome });
            responder.was_asked().await;
            let checked = checker.status(&subject, NOW + 300).await;
            let outcome = Outcome::Cached;
            assert_eq!(checked, Checked { standing, outcome });
            assert!(responder.was_not_asked());
            assert_eq!(checker.cached(), 1);
            let checked = checker.status(&subject, NOW + 301).await;
            assert_eq!(checked.standing, standing);
            responder.was_asked().await;
        });
    }
}

#[test]
fn all_who_want_to_know_wait_for_one_answer() {
    let authority = authority();
    let mut responder = Responder::saying(good(), Arc::clone(&authority));
    let subject = authority.subject(7, &[&responder.url]);
    let checker = checker(|_| {});
    // Two workers: the other one asks, and this one waits for its answer as well.
    let (other_checker, other_subject) = (Arc::clone(&checker), subject.clone());
    let other = std::thread::spawn(move || run(other_checker.status(&other_subject, NOW)));
    run(async {
        responder.was_asked().await;
        let (mut second, mut third) = (
            pin!(checker.status(&subject, NOW)),
            pin!(checker.status(&subject, NOW)),
        );
        begin(second.as_mut()).await;
        begin(third.as_mut()).await;
        assert_eq!(checker.in_flight(), 1);
        responder.release(2);
        assert_eq!(second.await, GOOD);
        assert_eq!(third.await, GOOD);
    });
    assert_eq!(other.join().unwrap(), GOOD);
    assert!(responder.was_not_asked());
    assert_eq!(checker.in_flight(), 0);
}

#[test]
fn a_question_outlives_who_asked() {
    let authority = authority();
    let mut responder = Responder::saying(good(), Arc::clone(&authority));
    let subject = authority.subject(7, &[&responder.url]);
    let checker = checker(|_| {});
    run(async {
        {
            let mut leaving = pin!(checker.status(&subject, NOW));
            begin(leaving.as_mut()).await;
            responder.was_asked().await;
        }
        responder.release(2);
        let checked = checker.status(&subject, NOW).await;
        assert_eq!(checked, GOOD, "by the question of who left");
        assert!(responder.was_not_asked());
    });
}

#[test]
fn when_the_worker_that_asked_ends_another_asks() {
    let authority = authority();
    let mut responder = Responder::saying(good(), Arc::clone(&authority));
    let subject = authority.subject(7, &[&responder.url]);
    let checker = checker(|_| {});
    let ending = runtime();
    ending.block_on(async {
        begin(pin!(checker.status(&subject, NOW))).await;
        responder.was_asked().await;
    });
    run(async {
        let mut waiting = pin!(checker.status(&subject, NOW));
        begin(waiting.as_mut()).await;
        ending.shutdown_background();
        responder.release(2);
        assert_eq!(waiting.await, GOOD);
        responder.was_asked().await;
    });
    assert_eq!(checker.in_flight(), 0);
}

#[test]
fn a_dead_responder_is_tried_once_in_an_interval() {
    let authority = authority();
    let url = nobody();
    let subject = |serial| authority.subject(serial, &[&url]);
    let checker = checker(|_| {});
    let unreachable = Reason::Unreachable;
    run(async {
        for (serial, now, expected) in [
            (1, NOW, failed(unreachable)),
            (1, NOW + 29, unavailable(unreachable, Outcome::Cached)),
            (2, NOW + 29, unavailable(unreachable, Outcome::Suspended)),
            (3, NOW + 30, failed(unreachable)),
            (2, NOW + 59, unavailable(unreachable, Outcome::Suspended)),
        ] {
            let checked = checker.status(&subject(serial), now).await;
            assert_eq!(checked, expected, "{serial} {now}");
        }
    });
}

#[test]
fn a_slow_responder_is_given_up() {
    let authority = authority();
    // The kernel accepts the connection, and nobody else does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let checker = checker(|settings| settings.fetch.total_timeout = Duration::from_millis(20));
    run(async {
        let subject = authority.subject(7, &[&url]);
        let checked = checker.status(&subject, NOW).await;
        assert_eq!(checked, failed(Reason::Timeout));
        let other = authority.subject(8, &[&url]);
        let checked = checker.status(&other, NOW).await;
        assert_eq!(checked, unavailable(Reason::Timeout, Outcome::Suspended));
    });
}

#[test]
fn only_what_a_responder_says_of_itself_suspends_it() {
    let later = |status| {
        let authority = authority();
        let responder = Responder::start(move |_| refusal(status));
        responder.release(2);
        let checker = checker(|_| {});
        run(async {
            let subject = authority.subject(1, &[&responder.url]);
            let checked = checker.status(&subject, NOW).await;
            assert_eq!(checked, failed(Reason::Refused));
            let other = authority.subject(2, &[&responder.url]);
            checker.status(&other, NOW).await.outcome
        })
    };
    for (status, outcome) in [
        (1, Outcome::Failed(Reason::Refused)),
        (2, Outcome::Suspended),
        (3, Outcome::Suspended),
        (6, Outcome::Failed(Reason::Refused)),
    ] {
        assert_eq!(later(status), outcome, "{status}");
    }
}

#[test]
fn a_response_that_cannot_be_believed_is_none() {
    let authority = authority();
    let stranger = self::authority();
    let mut responder = Responder::saying(good(), stranger);
    responder.release(2);
    let subject = authority.subject(7, &[&responder.url]);
    let checker = checker(|_| {});
    run(async {
        let checked = checker.status(&subject, NOW).await;
        assert_eq!(checked, failed(Reason::BadResponse));
        responder.was_asked().await;
        let checked = checker.status(&subject, NOW + 1).await;
        assert_eq!(checked, unavailable(Reason::BadResponse, Outcome::Cached));
        assert!(responder.was_not_asked());
    });
}

#[test]
fn an_older_answer_serves_while_the_responder_is_down() {
    let authority = authority();
    let mut responder = Responder::start({
        let authority = Arc::clone(&authority);
        let answered = std::sync::atomic::AtomicBool::default();
        move |id| match answered.swap(true, std::sync::atomic::Ordering::Relaxed) {
            false => Response::new(id, &good(), &authority).sign(&authority),
            true => refusal(3),
        }
    });
    responder.release(3);
    let subject = authority.subject(7, &[&responder.url]);
    let checker = checker(|_| {});
    run(async {
        assert_eq!(checker.status(&subject, NOW).await, GOOD);
        let standing = Standing::Good;
        let outcome = Outcome::Failed(Reason::Refused);
        let checked = checker.status(&subject, NOW + 400).await;
        assert_eq!(checked, Checked { standing, outcome });
        assert_eq!(checker.status(&subject, NOW + 401).await, CACHED);
        let checked = checker.status(&subject, NOW + 901).await;
        assert_eq!(checked, failed(Reason::Refused), "it is out of date");
    });
    for _ in 0..3 {
        run(responder.was_asked());
    }
}

#[test]
fn the_next_responder_is_asked_when_one_fails() {
    let authority = authority();
    let mut responder = Responder::saying(good(), Arc::clone(&authority));
    responder.release(2);
    let dead = nobody();
    let checker = checker(|_| {});
    run(async {
        for serial in [1, 2] {
            let subject = authority.subject(serial, &[&dead, &responder.url]);
            assert_eq!(checker.status(&subject, NOW).await, GOOD);
            responder.was_asked().await;
        }
    });
}

#[test]
fn a_configured_responder_is_asked_in_place_of_the_certificates() {
    let authority = authority();
    let responder = Responder::saying(good(), Arc::clone(&authority));
    responder.release(2);
    let url: HttpUrl = responder.url.parse().unwrap();
    let checker = checker(|settings| settings.responder = Some(url));
    run(async {
        for (serial, named) in [(1, vec![]), (2, vec![nobody()])] {
            let named: Vec<_> = named.iter().map(String::as_str).collect();
            let subject = authority.subject(serial, &named);
            assert_eq!(checker.status(&subject, NOW).await, GOOD);
        }
    });
}

#[test]
fn without_a_responder_nobody_is_asked() {
    let subject = authority().subject(7, &["https://responder.example/"]);
    let checker = checker(|_| {});
    let checked = run(checker.status(&subject, NOW));
    assert_eq!(checked, failed(Reason::NoResponder));
    assert_eq!(checker.cached(), 0);
}

#[test]
fn questions_wait_for_their_turn_and_not_too_many_do() {
    let authority = authority();
    let mut responder = Responder::saying(good(), Arc::clone(&authority));
    let subject = |serial| -> Subject { authority.subject(serial, &[&responder.url]) };
    let subjects = [subject(1), subject(2), subject(3)];
    let checker = checker(|settings| {
        settings.max_in_flight = 1;
        settings.max_waiting = 1;
    });
    run(async {
        let mut first = pin!(checker.status(&subjects[0], NOW));
        begin(first.as_mut()).await;
        responder.was_asked().await;
        let mut second = pin!(checker.status(&subjects[1], NOW));
        begin(second.as_mut()).await;
        assert_eq!(checker.in_flight(), 2);
        let checked = checker.status(&subjects[2], NOW).await;
        assert_eq!(checked, failed(Reason::Busy));
        responder.release(1);
        assert_eq!(first.await, GOOD);
        responder.release(2);
        assert_eq!(second.await, GOOD);
        let checked = checker.status(&subjects[2], NOW).await;
        assert_eq!(checked, GOOD, "that it was busy is not remembered");
    });
}

#[test]
fn who_waited_while_the_responder_failed_does_not_ask_it_too() {
    let authority = authority();
    let mut responder = Responder::start(|_| refusal(3));
    let subjects = [1, 2].map(|serial| authority.subject(serial, &[&responder.url]));
    let checker = checker(|settings| settings.max_in_flight = 1);
    run(async {
        let mut first = pin!(checker.status(&subjects[0], NOW));
        begin(first.as_mut()).await;
        responder.was_asked().await;
        let mut second = pin!(checker.status(&subjects[1], NOW));
        begin(second.as_mut()).await;
        responder.release(2);
        assert_eq!(first.await, failed(Reason::Refused));
        let suspended = unavailable(Reason::Refused, Outcome::Suspended);
        assert_eq!(second.await, suspended);
        assert!(responder.was_not_asked());
    });
}

#[test]
fn a_checker_is_for_all_workers() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&checker(|_| {}));
}
