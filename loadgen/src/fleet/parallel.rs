//! The same work for each of many things, on all cores, in the order of the things.
//!
//! Deliberately no pool and no lock: threads take the next few things by a counter and send back what became of them.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Things to take at a time where each is a fraction of a millisecond's work: enough to make the counter cheap, few enough to
/// be told often.
pub(super) const AT_ONCE: usize = 64;

/// How far the opening of a fleet has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Identities made or files read.
    pub done: usize,
    /// Of so many.
    pub of: usize,
}

/// Calls `work` for each of `things`, of which a thread takes `at_once` at a time. `observer` is told how far it is, on the calling thread, and can end it: `None` then.
pub(super) fn map<T: Sync, R: Send>(
    things: &[T],
    at_once: usize,
    observer: &mut dyn FnMut(Opened) -> ControlFlow<()>,
    work: impl Fn(&T) -> R + Sync,
) -> Option<Vec<R>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let chunks: Vec<&[T]> = things.chunks(at_once.max(1)).collect();
    let next = AtomicUsize::new(0);
    let (results_in, results) = mpsc::channel();
    let mut done: Vec<Option<Vec<R>>> = chunks.iter().map(|_| None).collect();
    let mut opened = Opened {
        done: 0,
        of: things.len(),
    };
    std::thread::scope(|scope| {
        for _ in 0..cores.min(chunks.len()) {
            let (results_in, chunks, next, work) = (results_in.clone(), &chunks, &next, &work);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(chunk) = chunks.get(index) else {
                        return;
                    };
                    let result: Vec<R> = chunk.iter().map(work).collect();
                    if results_in.send((index, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results_in);
        // Ends when all threads have; what they still send after an early end goes nowhere.
        for (index, result) in &results {
            opened.done += result.len();
            if let Some(slot) = done.get_mut(index) {
                *slot = Some(result);
            }
            if observer(opened).is_break() {
                next.store(chunks.len(), Ordering::Relaxed);
            }
        }
    });
    let complete: Option<Vec<Vec<R>>> = done.into_iter().collect();
    complete.map(|chunks| chunks.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_all_are_told() {
        let things: Vec<usize> = (0..1000).collect();
        let mut told = Vec::new();
        let doubled = map(
            &things,
            AT_ONCE,
            &mut |opened| {
                told.push(opened);
                ControlFlow::Continue(())
            },
            |thing| thing * 2,
        )
        .unwrap();
        assert_eq!(doubled, (0..1000).map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(told.len(), 16);
        let all = Opened {
            done: 1000,
            of: 1000,
        };
        assert_eq!(told.last(), Some(&all));
        let none: Vec<usize> = Vec::new();
        assert_eq!(
            map(&none, 1, &mut |_| ControlFlow::Continue(()), |n| *n),
            Some(Vec::new())
        );
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let things: Vec<usize> = (0..1_000_000).collect();
        let worked = AtomicUsize::new(0);
        let result = map(&things, AT_ONCE, &mut |_| ControlFlow::Break(()), |_| {
            // Slow enough that the calling thread has its say long before the end.
            std::thread::yield_now();
            worked.fetch_add(1, Ordering::Relaxed)
        });
        assert_eq!(result, None);
        assert!(worked.load(Ordering::Relaxed) < 1_000_000);
    }
}
