//! Live models that don't answer, by what serving processes say: an incident for each, closed when it is over.
//!
//! What is live is what an alias names. A process that is starting again, or whose values Redis is being given again, is no
//! incident at once, and a model that comes and goes is one, not many: hence the two times below. Any number of servers may
//! watch: a model has at most one open incident.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tidemill_catalog::{Catalog, ModelAlias};
use tidemill_core::Time;
use tidemill_online::{Online, Replica, Served};
use tidemill_spec::{MonitorTarget, Objects};

use crate::{Error, notify::notifications};

/// How long a model is in trouble before it is an incident, real time.
const OPENS_AFTER: Duration = Duration::from_secs(15);
/// How long every serving process has to be fine with it before the trouble is over, real time.
const CLOSES_AFTER: Duration = Duration::from_mins(1);

/// Watches what serving processes say of live models.
#[derive(Debug, Default)]
pub struct ModelWatch {
    troubles: BTreeMap<String, Trouble>,
}

/// A model that failed and has not been fine for long enough since.
#[derive(Debug)]
struct Trouble {
    since: Time,
    /// Since when nobody has said that it fails or is being loaded.
    fine_since: Option<Time>,
}

/// What is to be done about a model.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Its incident is to say this.
    Open { model: String, summary: String },
    /// It answers, or is no longer live.
    Close { model: String },
}

/// What is said of a model's live versions.
#[derive(Debug, Default)]
struct Said {
    /// The addresses of those who can't answer, by version and reason.
    failed: BTreeMap<(u32, String), Vec<String>>,
    /// Whether somebody is still loading one.
    loading: bool,
}

impl ModelWatch {
    /// Looks once: opens incidents with their notifications, and closes those that are over. To be repeated every few
    /// seconds. True if there are new jobs to wake workers for.
    ///
    /// # Errors
    /// Postgres or Redis can't be reached; nothing is taken for well then.
    pub async fn look(&mut self, catalog: &Catalog, online: &Online, now: Time) -> Result<bool, Error> {
        let looked = async {
            let (aliases, open) = (catalog.model_aliases(None).await?, catalog.open_model_incidents().await?);
            Ok::<_, Error>((said(&aliases, &online.replicas().await?), open))
        };
        let (said, open) = looked.await.inspect_err(|_| self.blind())?;
        let changes = self.judge(now, &said, &open);
        if changes.is_empty() {
            return Ok(false);
        }
        let objects = catalog.objects().await?;
        let store = catalog.store();
        let mut tx = store.begin().await?;
        let mut told = Vec::new();
        for change in changes {
            match change {
                Change::Close { model } => {
                    catalog.close_model_incident(&mut tx, &model).await?;
                }
                Change::Open { model, summary } => {
                    let (incident, fresh) = catalog.open_model_incident(&mut tx, &model, &summary).await?;
                    if fresh {
                        let notifiers = notifiers(&objects, &model);
                        told.extend(notifications(catalog, &mut tx, incident, notifiers).await?);
                    }
                }
            }
        }
        store.enqueue_all(&mut tx, &told).await?;
        tx.commit().await?;
        Ok(!told.is_empty())
    }

    /// What to change in the incidents that are `open`, each with what it says.
    fn judge(
        &mut self,
        now: Time,
        said: &BTreeMap<String, Said>,
        open: &BTreeMap<String, String>,
    ) -> Vec<Change> {
        let failing = said.iter().filter(|(_, said)| !said.failed.is_empty()).map(|(model, _)| model);
        let watched: BTreeSet<String> =
            failing.chain(self.troubles.keys()).chain(open.keys()).cloned().collect();
        let nothing = Said::default();
        let mut changes = Vec::new();
        for model in watched {
            let said = said.get(&model).unwrap_or(&nothing);
            let trouble =
                self.troubles.entry(model.clone()).or_insert(Trouble { since: now, fine_since: None });
            if !said.failed.is_empty() {
                trouble.fine_since = None;
                let summary = said.summary();
                let to_say = match open.get(&model) {
                    Some(before) => *before != summary,
                    None => lasted(trouble.since, now) >= OPENS_AFTER,
                };
                if to_say {
                    changes.push(Change::Open { model, summary });
                }
            } else if said.loading {
                trouble.fine_since = None;
            } else if lasted(*trouble.fine_since.get_or_insert(now), now) >= CLOSES_AFTER {
                self.troubles.remove(&model);
                if open.contains_key(&model) {
                    changes.push(Change::Close { model });
                }
            }
        }
        changes
    }

    /// Nobody could be asked: whether models have been fine since the last look is not known.
    fn blind(&mut self) {
        for trouble in self.troubles.values_mut() {
            trouble.fine_since = None;
        }
    }
}

impl Said {
    /// `version 2 at 127.0.0.1:7436: [TM0707] No module named 'shape'`
    fn summary(&self) -> String {
        let one = |((version, reason), addresses): (&(u32, String), &Vec<String>)| {
            format!("version {version} at {}: {reason}", addresses.join(", "))
        };
        self.failed.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// What is said of the versions that aliases name, by model.
fn said(aliases: &[ModelAlias], replicas: &[Replica]) -> BTreeMap<String, Said> {
    let live: BTreeSet<(&str, u32)> = aliases
        .iter()
        .filter_map(|alias| Some((alias.model.as_str(), u32::try_from(alias.version).ok()?)))
        .collect();
    let mut models: BTreeMap<String, Said> = BTreeMap::new();
    for (model, version) in live {
        let said = models.entry(model.to_owned()).or_default();
        for replica in replicas {
            match replica.models.get(model).and_then(|versions| versions.get(&version)) {
                Some(Served::Ready) => {}
                Some(Served::Failed(reason)) => {
                    let reason = reason.lines().next().unwrap_or_default().to_owned();
                    said.failed.entry((version, reason)).or_default().push(replica.address.clone());
                }
                // Who doesn't know it yet is about to load it.
                Some(Served::Loading) | None => said.loading = true,
            }
        }
    }
    models
}

/// Whom to tell of a model: those who are told by the monitors that watch it.
pub(crate) fn notifiers<'o>(objects: &'o Objects, model: &str) -> BTreeSet<&'o String> {
    let watching = objects
        .monitors
        .values()
        .filter(|monitor| matches!(&monitor.target, MonitorTarget::Model(watched) if watched == model));
    watching.flat_map(|monitor| &monitor.notify).collect()
}

fn lasted(since: Time, now: Time) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// A watch whose looks are `seconds` after the first, and the incident as Postgres would keep it.
    #[derive(Default)]
    struct World {
        watch: ModelWatch,
        open: BTreeMap<String, String>,
        opened: usize,
    }

    impl World {
        /// One look; whether an incident is open then.
        fn look(&mut self, seconds: i64, served: &Served) -> bool {
            let aliases = [alias("champion", 2), alias("canary", 2)];
            self.see(seconds, &said(&aliases, &[replica("a:1", served)]))
        }

        fn see(&mut self, seconds: i64, said: &BTreeMap<String, Said>) -> bool {
            for change in self.watch.judge(at(seconds), said, &self.open) {
                match change {
                    Change::Open { model, summary } => {
                        let before = self.open.insert(model, summary);
                        self.opened += usize::from(before.is_none());
                    }
                    Change::Close { model } => {
                        self.open.remove(&model).unwrap();
                    }
                }
            }
            !self.open.is_empty()
        }
    }

    fn at(seconds: i64) -> Time {
        "2024-01-01T00:00:00Z".parse::<Time>().unwrap() + TimeDelta::seconds(seconds)
    }

    fn alias(alias: &str, version: i32) -> ModelAlias {
        let (model, alias) = ("late".to_owned(), alias.to_owned());
        ModelAlias { model, alias, version, previous: None, changed_at: at(0) }
    }

    fn replica(address: &str, served: &Served) -> Replica {
        let models = [("late".to_owned(), [(2, served.clone())].into())].into();
        Replica { address: address.to_owned(), models, ..Replica::default() }
    }

    fn failed() -> Served {
        Served::Failed("none of its processes runs\nTraceback".to_owned())
    }

    #[test]
    fn a_model_that_fails_for_a_while_is_an_incident_until_it_was_fine_for_a_minute() {
        let mut world = World::default();
        assert!(!world.look(0, &failed()));
        assert!(!world.look(14, &failed()));
        assert!(world.look(15, &failed()));
        assert_eq!(world.open["late"], "version 2 at a:1: none of its processes runs");
        assert!(world.look(100, &Served::Loading));
        assert!(world.look(102, &Served::Ready));
        assert!(world.look(161, &Served::Ready));
        assert!(!world.look(162, &Served::Ready));
        assert_eq!(world.opened, 1);
    }

    #[test]
    fn a_process_that_starts_again_at_once_is_none() {
        let mut world = World::default();
        for second in 0..200 {
            let served = if second == 3 { failed() } else { Served::Ready };
            assert!(!world.look(second, &served), "at {second}");
        }
        // The minute of the first was over: this is another first one.
        assert!(!world.look(200, &failed()));
    }

    #[test]
    fn a_model_that_comes_and_goes_is_one_incident() {
        let mut world = World::default();
        for second in 0..600 {
            let served = if second % 20 < 4 { failed() } else { Served::Ready };
            assert_eq!(world.look(second, &served), second >= 20, "at {second}");
        }
        assert_eq!(world.opened, 1);
    }

    #[test]
    fn an_open_incident_says_what_holds_now_and_where() {
        let mut world = World::default();
        world.look(0, &failed());
        world.look(20, &failed());
        let other = Served::Failed("out of memory".to_owned());
        let replicas = [replica("a:1", &failed()), replica("b:1", &other), replica("c:1", &other)];
        world.see(22, &said(&[alias("champion", 2)], &replicas));
        let summary = "version 2 at a:1: none of its processes runs; version 2 at b:1, c:1: out of memory";
        assert_eq!((world.open["late"].as_str(), world.opened), (summary, 1));
    }

    #[test]
    fn who_is_gone_or_no_longer_live_fails_no_more_and_a_server_that_starts_closes_what_is_over() {
        let gone = [said(&[alias("champion", 2)], &[]), said(&[], &[replica("a:1", &failed())])];
        for said in gone {
            let mut world = World::default();
            world.look(0, &failed());
            world.look(20, &failed());
            world.watch = ModelWatch::default();
            assert!(world.see(22, &said));
            // Nothing was heard in between.
            world.watch.blind();
            assert!(world.see(82, &said));
            assert!(!world.see(142, &said));
        }
    }
}
