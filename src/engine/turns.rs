//! Who goes first when the host brings its VEs up or down: groups one after the other, and within a group, at a boot,
//! as many at once as the host bears.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hostel_model::host_life::{Stalled, WINDOW, bears};
use hostel_system::pressure;

use crate::error::{Class, Error, Result};

/// How often those who wait look whether somebody wants them to give up.
const GLANCE: Duration = Duration::from_millis(200);

/// The turns of some VEs. Each has a number; those of a lower one come first, and a number's turn comes when all lower
/// ones are through.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
    /// What tells of pressure, if that is to be heeded.
    pressure: Option<Gauge>,
    processors: usize,
}

/// Tells how long the host's work has been held up in all; `None`: it can't be told.
struct Gauge(Box<dyn Fn() -> Option<Stalled> + Send + Sync>);

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

#[derive(Debug)]
struct State {
    /// How many are not through, by their numbers.
    left: BTreeMap<u32, usize>,
    at_work: usize,
    /// The end of the last window.
    looked: Instant,
    stalled: Option<Stalled>,
    /// So many more may begin in this window.
    room: usize,
}

/// A place at work. Given back when dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    number: u32,
    /// How many numbers are not through, this one included.
    pub numbers_left: usize,
}

impl Turns {
    /// Whoever's turn it is may begin.
    pub fn new(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut left = BTreeMap::new();
        for number in numbers {
            *left.entry(number).or_default() += 1;
        }
        Self {
            state: Mutex::new(State {
                left,
                at_work: 0,
                looked: Instant::now(),
                stalled: None,
                room: 0,
            }),
            changed: Condvar::new(),
            pressure: None,
            processors: 1,
        }
    }

    /// Of those whose turn it is, as many may be at work as the host bears, by its pressure stall information in this
    /// directory; where there is none, as many as it has processors.
    pub fn as_the_host_bears(numbers: impl IntoIterator<Item = u32>, pressure: &Path) -> Self {
        let directory = pressure.to_owned();
        Self::by_gauge(numbers, Gauge(Box::new(move || pressure::stalled(&directory))))
    }

    fn by_gauge(numbers: impl IntoIterator<Item = u32>, gauge: Gauge) -> Self {
        let stalled = gauge.0();
        let turns = Self {
            pressure: Some(gauge),
            processors: thread::available_parallelism().map_or(1, usize::from),
            ..Self::new(numbers)
        };
        turns.state().stalled = stalled;
        turns
    }

    /// Can it be told what the host bears?
    pub fn is_told_of_pressure(&self) -> bool {
        self.state().stalled.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a number that is among those of the beginning. `waits` is called once if that takes time.
    pub fn wait(&self, number: u32, interrupted: &AtomicBool, waits: impl FnOnce()) -> Result<Turn<'_>> {
        let mut waits = Some(waits);
        let mut state = self.state();
        loop {
            let first = state.left.keys().next().is_none_or(|first| *first >= number);
            if first && self.has_room(&mut state) {
                state.at_work += 1;
                let numbers_left = state.left.len();
                return Ok(Turn {
                    turns: self,
                    number,
                    numbers_left,
                });
            }
            if interrupted.load(Ordering::Relaxed) {
                drop(state);
                self.through(number, false);
                return Err(Error::new(Class::Interrupted, "interrupted before its turn came"));
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            let patience = if first { WINDOW } else { GLANCE };
            let waited = self.changed.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn has_room(&self, state: &mut State) -> bool {
        let Some(pressure) = &self.pressure else {
            return true;
        };
        // Whatever weighs on the host, it isn't relieved by nothing being done.
        if state.at_work == 0 {
            return true;
        }
        let Some(before) = state.stalled else {
            return state.at_work < self.processors;
        };
        let window = state.looked.elapsed();
        if window >= WINDOW {
            let now = pressure.0().unwrap_or(before);
            // A window without pressure shows that there is room, but not how much: so it is felt for.
            state.room = if bears(before, now, window) { self.processors } else { 0 };
            (state.looked, state.stalled) = (Instant::now(), Some(now));
        }
        let room = state.room > 0;
        state.room = state.room.saturating_sub(1);
        room
    }

    fn through(&self, number: u32, worked: bool) {
        let mut state = self.state();
        if worked {
            state.at_work -= 1;
        }
        if let Some(left) = state.left.get_mut(&number) {
            *left -= 1;
            if *left == 0 {
                state.left.remove(&number);
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.through(self.number, true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    fn soon(what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < end, "{what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_number_waits_for_all_lower_ones() {
        let turns = Turns::new([7, 7, 9]);
        let first = turns.wait(7, &GO_ON, || panic!("nobody is before it")).unwrap();
        let second = turns.wait(7, &GO_ON, || panic!("they go side by side")).unwrap();
        assert_eq!([first.numbers_left, second.numbers_left], [2, 2]);
        let (waits, goes) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let turn = turns.wait(9, &GO_ON, || waits.store(true, Ordering::Relaxed)).unwrap();
                assert_eq!(turn.numbers_left, 1);
                goes.store(true, Ordering::Relaxed);
            });
            soon("it waits", || waits.load(Ordering::Relaxed));
            drop(first);
            thread::sleep(Duration::from_millis(20));
            assert!(!goes.load(Ordering::Relaxed), "one of those before it is at work");
            drop(second);
        });
        assert!(goes.load(Ordering::Relaxed));
    }

    #[test]
    fn who_gives_up_is_not_waited_for() {
        let turns = Turns::new([1, 2, 3]);
        let _first = turns.wait(1, &GO_ON, || ()).unwrap();
        let gave_up = AtomicBool::new(true);
        let error = turns.wait(2, &gave_up, || ()).unwrap_err();
        assert_eq!(error.class, Class::Interrupted);
        assert_eq!(turns.state().left.keys().copied().collect::<Vec<_>>(), [1, 3]);
    }

    /// Lets one after the other begin, until as many have or nobody has for so many windows; how many have.
    fn begun<'a>(turns: &'a Turns, places: &mut Vec<Turn<'a>>, most: usize, windows: u32) -> usize {
        while places.len() < most {
            let (give_up, begins) = (AtomicBool::new(false), AtomicBool::new(false));
            let place = thread::scope(|scope| {
                scope.spawn(|| {
                    let end = Instant::now() + windows * WINDOW;
                    while Instant::now() < end && !begins.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    give_up.store(true, Ordering::Relaxed);
                });
                let place = turns.wait(0, &give_up, || ());
                begins.store(true, Ordering::Relaxed);
                place
            });
            match place {
                Ok(place) => places.push(place),
                Err(_) => break,
            }
        }
        places.len()
    }

    #[test]
    fn pressure_holds_back_all_but_one_and_its_end_lets_more_in() {
        let hard = Arc::new(AtomicBool::new(true));
        let (is_hard, begin, total) = (Arc::clone(&hard), Instant::now(), AtomicU64::new(0));
        let gauge = move || {
            // Something waits for a processor all the time.
            if is_hard.load(Ordering::Relaxed) {
                let elapsed = u64::try_from(begin.elapsed().as_micros()).unwrap();
                total.store(elapsed, Ordering::Relaxed);
            }
            Some(Stalled {
                cpu: total.load(Ordering::Relaxed),
                io: 0,
                memory: 0,
            })
        };
        let turns = Turns::by_gauge([0; 12], Gauge(Box::new(gauge)));
        assert!(turns.is_told_of_pressure());
        let mut places = Vec::new();
        assert_eq!(begun(&turns, &mut places, 2, 4), 1, "one is always at work");
        hard.store(false, Ordering::Relaxed);
        assert_eq!(begun(&turns, &mut places, 6, 100), 6);
    }

    #[test]
    fn without_word_of_pressure_as_many_as_there_are_processors() {
        let dir = tempfile::tempdir().unwrap();
        let turns = Turns {
            processors: 3,
            ..Turns::as_the_host_bears([0; 12], dir.path())
        };
        assert!(!turns.is_told_of_pressure());
        let mut places = Vec::new();
        assert_eq!(begun(&turns, &mut places, 5, 4), 3);
        places.pop();
        assert_eq!(begun(&turns, &mut places, 5, 4), 3);
    }
}
