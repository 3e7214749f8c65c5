//! Rollouts: an alias on its way from the version that it names to a candidate.
//!
//! An alias has at most one that goes on. The rows are what happened; who is asked which version follows from them, by
//! `live`. Written by `registry` and by the judge in `monitor`.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sqlx::{FromRow, types};
use tidemill_core::{IncidentId, RolloutId, Time};
use tidemill_store::Tx;
use uuid::Uuid;

use crate::{Catalog, Error};

/// What a rollout does, and what ends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// Shares of the entities that ask the candidate, in percent, each greater than the one before, below 100. After the last one
    /// the candidate is promoted.
    pub steps: Vec<u32>,
    /// How long a step lasts at least, in seconds, real time.
    pub every_seconds: u64,
    /// How many entities must have asked the candidate in a step before it ends.
    pub entities_min: u64,
    /// The candidate is rolled back when more of its requests fail, 0 to 1.
    #[serde(default)]
    pub error_rate_max: Option<f64>,
    /// The candidate is rolled back when its p95 is above, in milliseconds.
    #[serde(default)]
    pub p95_ms_max: Option<f64>,
}

/// What became of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// It goes on.
    Running,
    /// The alias names the candidate.
    Promoted,
    /// The candidate is asked no more.
    RolledBack,
}

impl RolloutState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "running" => Ok(Self::Running),
            "promoted" => Ok(Self::Promoted),
            "rolled_back" => Ok(Self::RolledBack),
            other => Err(Error::inconsistent(format!("a rollout in state `{other}`"))),
        }
    }
}

/// A rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The model.
    pub model: String,
    /// The alias that is on its way.
    pub alias: String,
    /// The version that the alias names while it goes on.
    pub control: i32,
    /// The version on trial.
    pub candidate: i32,
    /// What it does, and what ends it.
    pub plan: RolloutPlan,
    /// Which of the plan's shares, from 0.
    pub step: u32,
    /// When the step began, real time.
    pub step_began_at: Time,
    /// What became of it.
    pub state: RolloutState,
    /// What it waits for, or why it ended.
    pub reason: String,
    /// When it began, real time.
    pub began_at: Time,
    /// When it ended, real time.
    pub ended_at: Option<Time>,
}

impl Rollout {
    /// The share of the entities that ask the candidate now, in percent; 0 once it has ended.
    pub fn percent(&self) -> u32 {
        let going = self.state == RolloutState::Running;
        self.plan.steps.get(self.step as usize).copied().filter(|_| going).unwrap_or(0)
    }
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    model: String,
    alias: String,
    control: i32,
    candidate: i32,
    plan: types::Json<RolloutPlan>,
    step: i32,
    step_began_at: Time,
    state: String,
    reason: String,
    began_at: Time,
    ended_at: Option<Time>,
}

#[derive(FromRow)]
struct Taken {
    #[sqlx(flatten)]
    row: Row,
    evidence: types::Json<Json>,
}

impl Row {
    fn rollout(self) -> Result<Rollout, Error> {
        Ok(Rollout {
            id: self.id.into(),
            model: self.model,
            alias: self.alias,
            control: self.control,
            candidate: self.candidate,
            plan: self.plan.0,
            step: self.step.unsigned_abs(),
            step_began_at: self.step_began_at,
            state: RolloutState::parse(&self.state)?,
            reason: self.reason,
            began_at: self.began_at,
            ended_at: self.ended_at,
        })
    }
}

impl Catalog {
    /// Begins a rollout of an alias from the version that it names, `control`; false if one of it goes on.
    pub async fn begin_rollout(
        &self,
        tx: &mut Tx,
        id: RolloutId,
        (model, alias): (&str, &str),
        (control, candidate): (i32, i32),
        plan: &RolloutPlan,
    ) -> Result<bool, Error> {
        let begun = sqlx::query(include_str!("../queries/rollout/insert.sql"))
            .bind(id.as_uuid())
            .bind(model)
            .bind(alias)
            .bind(control)
            .bind(candidate)
            .bind(types::Json(plan))
            .execute(tx.conn())
            .await?;
        Ok(begun.rows_affected() > 0)
    }

    /// The rollouts that go on, of all models; newest first.
    pub async fn rollouts(&self) -> Result<Vec<Rollout>, Error> {
        self.listed(None, None).await
    }

    /// The newest rollouts of a model, whatever became of them.
    pub async fn rollouts_of(&self, model: &str, limit: u32) -> Result<Vec<Rollout>, Error> {
        self.listed(Some(model), Some(limit)).await
    }

    async fn listed(&self, model: Option<&str>, limit: Option<u32>) -> Result<Vec<Rollout>, Error> {
        let rows: Vec<Row> = sqlx::query_as(include_str!("../queries/rollout/list.sql"))
            .bind(model)
            .bind(limit.map(i64::from))
            .fetch_all(self.pool())
            .await?;
        rows.into_iter().map(Row::rollout).collect()
    }

    /// A rollout that goes on, and its evidence; held until the transaction ends. `None` if it has ended, or another judge has it.
    pub async fn take_rollout(&self, tx: &mut Tx, id: RolloutId) -> Result<Option<(Rollout, Json)>, Error> {
        let taken: Option<Taken> = sqlx::query_as(include_str!("../queries/rollout/take.sql"))
            .bind(id.as_uuid())
            .fetch_optional(tx.conn())
            .await?;
        taken.map(|taken| Ok((taken.row.rollout()?, taken.evidence.0))).transpose()
    }

    /// Keeps how far a rollout is, what it waits for and what its judge has seen.
    pub async fn save_rollout(
        &self,
        tx: &mut Tx,
        id: RolloutId,
        step: u32,
        waits: &str,
        evidence: &Json,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/rollout/save.sql"))
            .bind(id.as_uuid())
            .bind(i32::try_from(step).unwrap_or(i32::MAX))
            .bind(waits)
            .bind(types::Json(evidence))
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Ends the rollout of an alias that goes on; its id and candidate, `None` if none does. Committed with the move of the alias,
    /// if there is one.
    pub async fn end_rollout(
        &self,
        tx: &mut Tx,
        (model, alias): (&str, &str),
        state: RolloutState,
        reason: &str,
    ) -> Result<Option<(RolloutId, i32)>, Error> {
        let ended: Option<(Uuid, i32)> = sqlx::query_as(include_str!("../queries/rollout/end.sql"))
            .bind(model)
            .bind(alias)
            .bind(state.as_str())
            .bind(reason)
            .fetch_optional(tx.conn())
            .await?;
        Ok(ended.map(|(id, candidate)| (id.into(), candidate)))
    }

    /// The candidate of the rollout of an alias that goes on, which is held until the transaction ends.
    pub async fn candidate_of(&self, tx: &mut Tx, model: &str, alias: &str) -> Result<Option<i32>, Error> {
        let select = "SELECT candidate FROM catalog.rollout WHERE model = $1 AND alias = $2 AND state = 'running' FOR UPDATE";
        let row: Option<(i32,)> =
            sqlx::query_as(select).bind(model).bind(alias).fetch_optional(tx.conn()).await?;
        Ok(row.map(|(candidate,)| candidate))
    }

    /// Opens the incident of a rollback, in place of that of an earlier one.
    pub async fn open_rollback_incident(
        &self,
        tx: &mut Tx,
        model: &str,
        rollout: RolloutId,
        summary: &str,
    ) -> Result<IncidentId, Error> {
        self.close_rollback_incidents(tx, model).await?;
        let incident = IncidentId::generate();
        sqlx::query(include_str!("../queries/monitor/open_rollback_incident.sql"))
            .bind(incident.as_uuid())
            .bind(model)
            .bind(rollout.as_uuid())
            .bind(summary)
            .execute(tx.conn())
            .await?;
        Ok(incident)
    }

    /// Closes the incidents of a model's rollbacks: another version is on its way, or was promoted.
    pub async fn close_rollback_incidents(&self, tx: &mut Tx, model: &str) -> Result<(), Error> {
        let close = "UPDATE catalog.incident SET state = 'closed', closed_at = now()
                     WHERE model = $1 AND state = 'open' AND rollout IS NOT NULL";
        sqlx::query(close).bind(model).execute(tx.conn()).await?;
        Ok(())
    }
}
