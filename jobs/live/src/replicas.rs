//! Which serving processes have taken an alias over, by what they say of themselves.

use std::time::Duration;

use tidemill_online::{Online, Replica, Served};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::Error;

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One serving process, and whether an alias means there what it was pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// Where the process answers over HTTP.
    pub address: String,
    /// Why it doesn't; `None`: it does.
    pub problem: Option<String>,
}

/// Waits until every serving process has an alias where the publication `order` put it (`None`: taken away), or has failed to
/// load the version, or `within` (real time) is over. Empty if no process serves.
///
/// # Errors
/// Redis can't be reached.
pub async fn taken_over(
    online: &Online,
    order: i64,
    (model, alias): (&str, &str),
    version: Option<u32>,
    within: Duration,
) -> Result<Vec<TakeOver>, Error> {
    let until = Instant::now() + within;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let states: Vec<_> = online
            .replicas()
            .await?
            .into_iter()
            .map(|replica| (state(&replica, order, (model, alias), version), replica.address))
            .collect();
        let waiting = states.iter().any(|(state, _)| matches!(state, State::Waits(_)));
        if !waiting || Instant::now() >= until {
            return Ok(states
                .into_iter()
                .map(|(state, address)| TakeOver { address, problem: state.problem() })
                .collect());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Done,
    Waits(&'static str),
    Failed(String),
}

impl State {
    fn problem(self) -> Option<String> {
        match self {
            Self::Done => None,
            Self::Waits(reason) => Some(reason.to_owned()),
            Self::Failed(reason) => Some(reason),
        }
    }
}

fn state(replica: &Replica, order: i64, (model, alias): (&str, &str), version: Option<u32>) -> State {
    if replica.order < order {
        return State::Waits("it has not read the live set yet");
    }
    let meant = replica.aliases.get(model).and_then(|aliases| aliases.get(alias)).copied();
    if meant == version {
        return State::Done;
    }
    let served = version.and_then(|version| replica.models.get(model)?.get(&version));
    match served {
        Some(Served::Failed(reason)) => State::Failed(reason.clone()),
        _ => State::Waits("it is still loading the version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(order: i64, meant: Option<u32>, second: Served) -> Replica {
        let mut replica = Replica { order, ..Replica::default() };
        replica.models.entry("late".to_owned()).or_default().insert(2, second);
        if let Some(meant) = meant {
            replica.aliases.entry("late".to_owned()).or_default().insert("champion".to_owned(), meant);
        }
        replica
    }

    #[test]
    fn a_process_is_waited_for_until_the_alias_means_the_version_or_the_version_has_failed() {
        let of = |replica: &Replica, version| state(replica, 7, ("late", "champion"), version);
        assert_eq!(of(&replica(7, Some(2), Served::Ready), Some(2)), State::Done);
        assert_eq!(of(&replica(9, None, Served::Ready), None), State::Done);
        assert!(matches!(of(&replica(6, Some(2), Served::Ready), Some(2)), State::Waits(_)));
        assert!(matches!(of(&replica(7, Some(1), Served::Loading), Some(2)), State::Waits(_)));
        let failed = of(&replica(7, Some(1), Served::Failed("no module".into())), Some(2));
        assert_eq!(failed, State::Failed("no module".into()));
    }
}
