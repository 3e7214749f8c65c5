//! Figures of serving processes in Redis: each writes its own, readers add them up.
//!
//! A process writes a bucket of ten seconds as a whole, and what the arms of a rollout did as totals since the step began,
//! so writing twice changes nothing, and a Redis that lost them gets the totals again. What a process wrote ends an hour
//! after its last word; a dead one costs what it had not written yet. Writers: `serve`. Readers: `registry`, the control
//! plane.

use std::collections::{BTreeMap, HashMap};

use redis::Cmd;
use serde::{Deserialize, Serialize};

use crate::{
    client::Online,
    error::Error,
    figures::{Arms, Figures, Summary},
};

/// Length of a bucket of time, in seconds.
pub const BUCKET_SECONDS: i64 = 10;
/// How long buckets are kept, in seconds.
pub const KEPT_SECONDS: i64 = 3_600;
/// How long the totals of a rollout outlive the last word on it, in seconds.
const ROLLOUT_KEPT_SECONDS: i64 = 7 * 86_400;

/// Figures of one version in one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u32,
    /// How it fared.
    pub figures: Figures,
}

/// The windows that people read, in seconds.
const WINDOWS: [i64; 3] = [60, 300, 3_600];

/// How one version fared, over all serving processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionStats {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u32,
    /// The last minute.
    #[serde(rename = "1m")]
    pub minute: Summary,
    /// The last five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: Summary,
    /// The last hour.
    #[serde(rename = "1h")]
    pub hour: Summary,
}

/// The bucket that a moment lies in: its first second, in seconds since 1970, real time.
pub fn bucket_of(seconds: i64) -> i64 {
    seconds - seconds.rem_euclid(BUCKET_SECONDS)
}

impl Online {
    /// Whether Redis still has what the serving process `id` wrote.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn has_figures(&self, id: &str) -> Result<bool, Error> {
        Ok(self.connection.ask(&Cmd::exists(self.figures_key(id))).await?)
    }

    /// Writes buckets of the serving process `id` as they are now, and drops those that are too old; `now` in seconds since
    /// 1970. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_figures(
        &self,
        id: &str,
        buckets: &BTreeMap<i64, Vec<Measured>>,
        now: i64,
    ) -> Result<(), Error> {
        let key = self.figures_key(id);
        let mut set = redis::cmd("HSET");
        set.arg(&key);
        for (bucket, measured) in buckets {
            set.arg(*bucket).arg(json(measured)?);
        }
        let mut commands = Vec::new();
        if !buckets.is_empty() {
            commands.push(set);
        }
        let old: Vec<i64> = (1..=6).map(|n| bucket_of(now - KEPT_SECONDS) - n * BUCKET_SECONDS).collect();
        commands.push(Cmd::hdel(&key, old));
        commands.push(Cmd::expire(&key, KEPT_SECONDS));
        commands.push(Cmd::zadd(self.measuring_key(), id, now));
        commands.push(Cmd::zrembyscore(self.measuring_key(), "-inf", now - KEPT_SECONDS));
        self.connection.ask_each::<redis::Value>(&commands).await?;
        Ok(())
    }

    /// Figures of each version over all serving processes and the last seconds: whole buckets, so of up to ten seconds
    /// less. `now` in seconds since 1970. One entry for each of `windows`, by model and version.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn figures(
        &self,
        windows: &[i64],
        now: i64,
    ) -> Result<Vec<BTreeMap<(String, u32), Figures>>, Error> {
        let ids: Vec<String> = self.connection.ask(&Cmd::zrange(self.measuring_key(), 0, -1)).await?;
        let reads: Vec<Cmd> = ids.iter().map(|id| Cmd::hgetall(self.figures_key(id))).collect();
        let said: Vec<HashMap<i64, String>> = self.connection.ask_each(&reads).await?;
        let mut merged: Vec<BTreeMap<(String, u32), Figures>> = vec![BTreeMap::new(); windows.len()];
        for (bucket, text) in said.iter().flatten() {
            let within: Vec<usize> = (0..windows.len()).filter(|n| *bucket > now - windows[*n]).collect();
            if within.is_empty() {
                continue;
            }
            // A process of another release costs its own share.
            let measured: Vec<Measured> = serde_json::from_str(text).unwrap_or_default();
            for one in measured {
                for window in &within {
                    let key = (one.model.clone(), one.version);
                    merged[*window].entry(key).or_default().merge(&one.figures);
                }
            }
        }
        Ok(merged)
    }

    /// How each version fared over all serving processes in the last minute, five minutes and hour, by model and version,
    /// as people read it. `now` in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn stats(&self, now: i64) -> Result<Vec<VersionStats>, Error> {
        let [minute, five_minutes, hour] = WINDOWS;
        let mut windows = self.figures(&[minute, five_minutes, hour], now).await?.into_iter();
        let mut next = || windows.next().unwrap_or_default();
        let (minute, five_minutes, hour) = (next(), next(), next());
        let of = |window: &BTreeMap<(String, u32), Figures>, key| {
            window.get(key).map(Figures::summary).unwrap_or_default()
        };
        let stats = hour.iter().map(|(key, figures)| VersionStats {
            model: key.0.clone(),
            version: key.1,
            minute: of(&minute, key),
            five_minutes: of(&five_minutes, key),
            hour: figures.summary(),
        });
        Ok(stats.collect())
    }

    /// Writes what the arms of a rollout did in a step, in the serving process `id`, since the step began. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put_arms(&self, rollout: &str, step: u32, id: &str, arms: &Arms) -> Result<(), Error> {
        let key = self.arms_key(rollout);
        let set = Cmd::hset(&key, format!("{step}/{id}"), json(arms)?);
        let expire = Cmd::expire(&key, ROLLOUT_KEPT_SECONDS);
        self.connection.ask_each::<redis::Value>(&[set, expire]).await?;
        Ok(())
    }

    /// What the arms of a rollout did in a step, by serving process.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn arms(&self, rollout: &str, step: u32) -> Result<BTreeMap<String, Arms>, Error> {
        let said: HashMap<String, String> =
            self.connection.ask(&Cmd::hgetall(self.arms_key(rollout))).await?;
        let of_step = said.into_iter().filter_map(|(field, text)| {
            let (at, id) = field.split_once('/')?;
            let arms = (at.parse() == Ok(step)).then(|| serde_json::from_str(&text).ok()).flatten()?;
            Some((id.to_owned(), arms))
        });
        Ok(of_step.collect())
    }

    fn measuring_key(&self) -> String {
        format!("{}:measuring", self.prefix)
    }

    fn figures_key(&self, id: &str) -> String {
        format!("{}:figures:{id}", self.prefix)
    }

    fn arms_key(&self, rollout: &str) -> String {
        format!("{}:arms:{rollout}", self.prefix)
    }
}

fn json(content: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(content).map_err(|source| Error::InvalidLiveSet { part: "figures", source })
}
