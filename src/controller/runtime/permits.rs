//! Who runs next: names that wait, by priority and by a key such as the source that they read, and how many may run at
//! once.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// What goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Priority {
    /// A resync, or a write that nobody waits for.
    Low,
    /// A new or changed object, or an answer that a person waits for.
    High,
}

/// How many may run at once. Each priority has permits of its own, so that neither keeps the other waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PermitLimits {
    /// Of high priority, in all.
    pub(crate) high: usize,
    /// Of high priority, for one key: one slow source must leave room for the others.
    pub(crate) high_per_key: usize,
    /// Of low priority, in all.
    pub(crate) low: usize,
}

impl PermitLimits {
    /// One key gets at most three quarters of the permits of high priority.
    #[must_use]
    pub(crate) fn new(high: usize, low: usize) -> Self {
        Self { high: high.max(1), high_per_key: (high * 3 / 4).max(1), low: low.max(1) }
    }
}

/// The right to run. Whoever took it gives it back: see [`Permits::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not given back is lost"]
pub(crate) struct Permit<K> {
    priority: Priority,
    key: K,
}

impl<K> Permit<K> {
    pub(crate) const fn priority(&self) -> Priority {
        self.priority
    }
}

/// Names that wait, and how many permits are taken. Every operation takes constant time.
///
/// Those of high priority take turns by key, first come first served within one key.
#[derive(Debug)]
pub(crate) struct Permits<N, K> {
    limits: PermitLimits,
    high: HashMap<K, OfKey<N>>,
    /// Keys of which something waits and may run, in the order of their turns.
    turns: VecDeque<K>,
    low: VecDeque<(N, K)>,
    running_high: usize,
    running_low: usize,
    waiting: usize,
}

#[derive(Debug)]
struct OfKey<N> {
    waiting: VecDeque<N>,
    running: usize,
}

impl<K> Permit<K> {
    /// By what it is counted.
    pub(crate) const fn key(&self) -> &K {
        &self.key
    }
}

impl<N, K: Clone + Eq + Hash> Permits<N, K> {
    #[must_use]
    pub(crate) fn new(limits: PermitLimits) -> Self {
        let (high, turns, low) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Self { limits, high, turns, low, running_high: 0, running_low: 0, waiting: 0 }
    }

    /// Has a name wait for a permit.
    pub(crate) fn wait(&mut self, name: N, priority: Priority, key: K) {
        self.waiting += 1;
        match priority {
            Priority::Low => self.low.push_back((name, key)),
            Priority::High => {
                let limit = self.limits.high_per_key;
                let of_key =
                    self.high.entry(key.clone()).or_insert_with(|| OfKey { waiting: VecDeque::new(), running: 0 });
                of_key.waiting.push_back(name);
                if of_key.waiting.len() == 1 && of_key.running < limit {
                    self.turns.push_back(key);
                }
            }
        }
    }

    /// The next name that may run, with its permit.
    pub(crate) fn next(&mut self) -> Option<(N, Permit<K>)> {
        let next = self.next_high().or_else(|| self.next_low());
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// How many wait.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    fn next_high(&mut self) -> Option<(N, Permit<K>)> {
        if self.running_high >= self.limits.high {
            return None;
        }
        let key = self.turns.pop_front()?;
        let of_key = self.high.get_mut(&key)?;
        let name = of_key.waiting.pop_front()?;
        of_key.running += 1;
        if !of_key.waiting.is_empty() && of_key.running < self.limits.high_per_key {
            self.turns.push_back(key.clone());
        }
        self.running_high += 1;
        Some((name, Permit { priority: Priority::High, key }))
    }

    fn next_low(&mut self) -> Option<(N, Permit<K>)> {
        if self.running_low >= self.limits.low {
            return None;
        }
        let (name, key) = self.low.pop_front()?;
        self.running_low += 1;
        Some((name, Permit { priority: Priority::Low, key }))
    }

    /// Takes a permit back.
    pub(crate) fn give_back(&mut self, permit: Permit<K>) {
        let Permit { priority, key } = permit;
        if priority == Priority::Low {
            self.running_low -= 1;
            return;
        }
        self.running_high -= 1;
        let Some(of_key) = self.high.get_mut(&key) else { return };
        let was_full = of_key.running == self.limits.high_per_key;
        of_key.running -= 1;
        if of_key.waiting.is_empty() {
            if of_key.running == 0 {
                self.high.remove(&key);
            }
        } else if was_full {
            self.turns.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(high: usize, low: usize) -> Permits<u32, &'static str> {
        Permits::new(PermitLimits::new(high, low))
    }

    fn taken(permits: &mut Permits<u32, &'static str>) -> (Vec<u32>, Vec<Permit<&'static str>>) {
        std::iter::from_fn(|| permits.next()).unzip()
    }

    #[test]
    fn low_priority_never_keeps_high_waiting() {
        let mut permits = permits(4, 1);
        permits.wait(1, Priority::Low, "dev");
        permits.wait(2, Priority::Low, "dev");
        let (low, _permits) = taken(&mut permits);
        assert_eq!(low, [1]);
        permits.wait(3, Priority::High, "dev");
        assert_eq!(taken(&mut permits).0, [3]);
    }

    #[test]
    fn high_priority_goes_first_and_low_priority_goes_on_beside_it() {
        let mut permits = permits(4, 1);
        permits.wait(1, Priority::Low, "dev");
        permits.wait(2, Priority::High, "dev");
        assert_eq!(taken(&mut permits).0, [2, 1]);
    }

    #[test]
    fn one_key_leaves_room_for_others_and_takes_no_permit_while_it_waits() {
        let mut permits = permits(4, 1);
        (0..10).for_each(|name| permits.wait(name, Priority::High, "dev"));
        let (names, mut dev) = taken(&mut permits);
        assert_eq!(names, [0, 1, 2], "three quarters of four");
        permits.wait(20, Priority::High, "staging");
        permits.wait(21, Priority::High, "staging");
        let (names, staging) = taken(&mut permits);
        assert_eq!(names, [20], "all four are taken");
        permits.give_back(dev.remove(0));
        assert_eq!(taken(&mut permits).0, [21], "it is the other's turn");
        for permit in staging {
            permits.give_back(permit);
        }
        assert_eq!(taken(&mut permits).0, [3], "and then its own again");
    }

    #[test]
    fn keys_take_turns() {
        let mut permits = permits(8, 1);
        (0..3).for_each(|name| permits.wait(name, Priority::High, "dev"));
        (10..13).for_each(|name| permits.wait(name, Priority::High, "staging"));
        assert_eq!(taken(&mut permits).0, [0, 10, 1, 11, 2, 12]);
    }

    #[test]
    fn every_permit_that_is_given_back_can_be_taken_again_and_nothing_stays_behind() {
        let mut permits = permits(4, 2);
        for round in 0..3 {
            for name in 0..20 {
                let priority = if name % 3 == 0 { Priority::Low } else { Priority::High };
                permits.wait(name, priority, ["dev", "staging", "production"][name as usize % 3]);
            }
            let mut seen = Vec::new();
            loop {
                let (names, all) = taken(&mut permits);
                if names.is_empty() {
                    break;
                }
                seen.extend(names);
                for permit in all {
                    permits.give_back(permit);
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..20).collect::<Vec<_>>(), "round {round}");
            assert!(permits.high.is_empty() && permits.turns.is_empty() && permits.low.is_empty());
        }
    }
}
