//! The same work for each index, on all cores.
//!
//! Deliberately no queue and no pool: an atomic next index is all that these threads share.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `work` once for each index below `count`, from `jobs` threads (by default as many as there are cores).
/// After the first error no further index is begun.
pub(super) fn for_each<E: Send>(
    count: usize,
    jobs: Option<usize>,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let first_error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or_else(cores).min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    if let Err(error) = work(index) {
                        next.store(count, Ordering::Relaxed);
                        let mut slot = first_error
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner());
                        slot.get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    match first_error
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
    {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::for_each;

    #[test]
    fn each_index_once() {
        for jobs in [None, Some(1), Some(7)] {
            let seen = Mutex::new(Vec::new());
            for_each(100, jobs, |index| {
                seen.lock().unwrap().push(index);
                Ok::<(), ()>(())
            })
            .unwrap();
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_stops_the_rest() {
        let begun = Mutex::new(0);
        let error = for_each(1_000_000, Some(2), |index| {
            *begun.lock().unwrap() += 1;
            if index == 10 { Err("ten") } else { Ok(()) }
        });
        assert_eq!(error, Err("ten"));
        assert!(*begun.lock().unwrap() < 1_000_000);
    }
}
