//! Which version answers an entity while a rollout is under way: a stable hash decides. Pure.
//!
//! An entity has one place among ten thousand for the whole rollout. The candidate has the places below its share, so an
//! entity that it answers stays with it while the share grows, and every serving process agrees without asking another.
//! Another rollout gives other places: no entity is always the first to try what is new.

use serde::{Deserialize, Serialize};
use tidemill_spec::Value;

/// How an alias is split between the version that it names, the control, and a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSplit {
    /// The rollout: `rol_…`.
    pub rollout: String,
    /// Which of its steps, from 0.
    pub step: u32,
    /// The version on trial.
    pub candidate: u32,
    /// The share of entities that it answers, 0 to 100 percent.
    pub percent: u32,
}

impl LiveSplit {
    /// Whether the candidate answers the entity that a [`hash`](Self::hash) stands for.
    pub fn takes(&self, hash: u64) -> bool {
        place(hash) < u64::from(self.percent) * 100
    }

    /// What stands for an entity in this rollout, by its keys in declared order.
    pub fn hash<'v>(&self, model: &str, keys: impl IntoIterator<Item = &'v Value>) -> u64 {
        let mut hash = OFFSET;
        for part in [model, &self.rollout] {
            hash = add(hash, part.as_bytes());
        }
        for key in keys {
            hash = add(hash, key.to_string().as_bytes());
        }
        mixed(hash)
    }
}

/// One of ten thousand.
fn place(hash: u64) -> u64 {
    hash % 10_000
}

/// FNV-1a, whose constants these are; the length keeps `a`, `bc` and `ab`, `c` apart.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

fn add(hash: u64, part: &[u8]) -> u64 {
    let length = (part.len() as u64).to_le_bytes();
    length.iter().chain(part).fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// The finalizer of splitmix64: bits that differ in one become bits that have nothing in common.
pub fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(rollout: &str, percent: u32) -> LiveSplit {
        LiveSplit { rollout: rollout.to_owned(), step: 0, candidate: 2, percent }
    }

    fn takes(split: &LiveSplit, keys: &[Value]) -> bool {
        split.takes(split.hash("late", keys))
    }

    proptest! {
        #[test]
        fn an_entity_stays_with_the_candidate_while_the_share_grows(
            carrier in ".*", flight in any::<i64>(), shares in proptest::collection::vec(0..=100_u32, 2..6),
        ) {
            let keys = [Value::String(carrier), Value::Int(flight)];
            let mut shares = shares;
            shares.sort_unstable();
            let taken: Vec<bool> =
                shares.iter().map(|percent| takes(&split("rol_1", *percent), &keys)).collect();
            prop_assert!(taken.is_sorted(), "{shares:?} {taken:?}");
            prop_assert!(!takes(&split("rol_1", 0), &keys) && takes(&split("rol_1", 100), &keys));
        }
    }

    #[test]
    fn shares_are_what_they_are_called_and_rollouts_choose_anew() {
        let taken = |rollout: &str, percent| -> Vec<bool> {
            (0..20_000).map(|n| takes(&split(rollout, percent), &[Value::Int(n)])).collect()
        };
        for percent in [1, 10, 50, 90] {
            let share = taken("rol_1", percent).iter().filter(|taken| **taken).count();
            let expected = 200 * percent as usize;
            assert!(share.abs_diff(expected) < 450, "{share} for {expected}");
        }
        let (one, other) = (taken("rol_1", 50), taken("rol_2", 50));
        let both = one.iter().zip(&other).filter(|(one, other)| one == other).count();
        assert!(both.abs_diff(10_000) < 450, "{both}");
    }
}
