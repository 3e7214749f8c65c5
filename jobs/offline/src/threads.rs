//! The same work on each of many things, on some threads.

use std::sync::{
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    mpsc::sync_channel,
};

use crate::Error;

/// Does `work` on each of some things, on so many threads; the results in their order. The first error ends it.
pub(crate) fn on_threads<T: Sync, R: Send>(
    things: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let share = || {
        let mut done = Vec::new();
        while let Some((place, thing)) = {
            let place = next.fetch_add(1, Relaxed);
            things.get(place).map(|thing| (place, thing)).filter(|_| !failed.load(Relaxed))
        } {
            let result = work(thing).inspect_err(|_| failed.store(true, Relaxed))?;
            done.push((place, result));
        }
        Ok(done)
    };
    let shares = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads.clamp(1, things.len().max(1))).map(|_| scope.spawn(share)).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Result<Vec<_>, Error>>()
    });
    let mut done: Vec<(usize, R)> = shares?.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Does `work` on each of some things, on so many threads, and gives `take` the results here, as they come. The first error
/// ends it.
pub(crate) fn each_on_threads<T: Sync, R: Send, E: From<Error>>(
    things: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, Error> + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let (next, threads) = (AtomicUsize::new(0), threads.clamp(1, things.len().max(1)));
    std::thread::scope(|scope| {
        // Nobody runs ahead of who takes: few results are in memory.
        let (found, results) = sync_channel(threads);
        for _ in 0..threads {
            let (found, next, work) = (found.clone(), &next, &work);
            scope.spawn(move || {
                // Nobody takes any more once that has failed.
                while let Some(thing) = things.get(next.fetch_add(1, Relaxed))
                    && found.send(work(thing)).is_ok()
                {}
            });
        }
        drop(found);
        results.into_iter().try_for_each(|result| take(result?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_are_in_the_order_of_the_things_and_an_error_is_told() {
        let things: Vec<usize> = (0..100).collect();
        let doubled = on_threads(&things, 3, |thing| Ok(thing * 2)).unwrap();
        assert_eq!(doubled, things.iter().map(|thing| thing * 2).collect::<Vec<_>>());
        assert!(on_threads::<usize, ()>(&[], 3, |_| unreachable!()).unwrap().is_empty());
        let fails = |thing: &usize| if *thing == 7 { Err(Error::Stopped) } else { Ok(()) };
        assert!(matches!(on_threads(&things, 3, fails), Err(Error::Stopped)));
    }

    #[test]
    fn every_result_is_taken_once_and_an_error_on_either_side_ends_it() {
        let things: Vec<usize> = (0..100).collect();
        let mut taken = Vec::new();
        let take = |thing| {
            taken.push(thing);
            Ok::<_, Error>(())
        };
        each_on_threads(&things, 3, |thing| Ok(*thing), take).unwrap();
        taken.sort_unstable();
        assert_eq!(taken, things);
        let fails = |thing: &usize| if *thing == 7 { Err(Error::Stopped) } else { Ok(()) };
        assert!(matches!(each_on_threads(&things, 3, fails, Ok::<_, Error>), Err(Error::Stopped)));
        let refuses = |thing: usize| if thing == 7 { Err(Error::Stopped) } else { Ok(()) };
        assert!(matches!(each_on_threads(&things, 3, |thing| Ok(*thing), refuses), Err(Error::Stopped)));
    }
}
