//! A store of its own for each test, and the few moves that every test makes.
#![expect(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row as _;
use tidemill_core::{AttemptPolicy, Fault, Kind, RunId, RunState, Time, WorkerId};
use tidemill_store::{
    Claimed, DatabaseOptions, Ending, Enqueued, Lease, NewJob, NewLogLine, NewRun, NewStep, NewWorker,
    RunPage, Settled, Store, Trigger, Tx,
};
use tidemill_testkit::postgres::{self, Database};

pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// A migrated database and a store on it.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) database: Database,
}

pub(crate) async fn world() -> World {
    let migrate = async |database: &Database| Ok(connect(database).migrate().await?);
    let database = postgres::database("store", migrate).await.unwrap();
    World { store: connect(&database), database }
}

fn connect(database: &Database) -> Store {
    Store::connect(&DatabaseOptions::new(&database.url)).unwrap()
}

pub(crate) fn job(kind: &str) -> NewJob {
    NewJob {
        kind: Kind::from(kind.to_owned()),
        args: json!({ "of": kind }),
        key: None,
        concurrency_key: None,
        priority: 0,
        run_at: None,
        policy: AttemptPolicy::default(),
    }
}

pub(crate) fn step(name: &str, needs: &[&str]) -> NewStep {
    NewStep {
        name: name.to_owned(),
        kind: Kind::new("step"),
        args: json!({ "step": name }),
        needs: needs.iter().map(|&need| need.to_owned()).collect(),
        condition: None,
        policy: AttemptPolicy::default(),
        priority: 0,
        concurrency_key: None,
    }
}

pub(crate) fn run_of(steps: Vec<NewStep>) -> NewRun {
    NewRun {
        pipeline: "pipe".to_owned(),
        version: 3,
        context: json!({ "params": { "days": 7 } }),
        key: None,
        trigger: Trigger::Manual,
        logical_time: None,
        steps,
    }
}

impl World {
    pub(crate) async fn enqueue(&self, job: NewJob) -> Enqueued {
        let mut tx = self.store.begin().await.unwrap();
        let enqueued = self.store.enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
        enqueued
    }

    pub(crate) async fn start(&self, run: &NewRun) -> RunId {
        let mut tx = self.store.begin().await.unwrap();
        let enqueued = self.store.enqueue_run(&mut tx, run).await.unwrap();
        tx.commit().await.unwrap();
        enqueued.run
    }

    /// Claims by a worker of its own that runs every kind of these tests.
    pub(crate) async fn claim(&self, slots: usize) -> Vec<Claimed> {
        self.claim_as(WorkerId::generate(), slots, LEASE).await
    }

    /// A claim whose leases have expired at once.
    pub(crate) async fn claim_and_die(&self, slots: usize) -> Vec<Claimed> {
        self.claim_as(WorkerId::generate(), slots, Duration::ZERO).await
    }

    /// Claims by a worker that may hold others already.
    pub(crate) async fn claim_as(&self, worker: WorkerId, slots: usize, lease: Duration) -> Vec<Claimed> {
        let kinds = ["a", "b", "c", "step"].map(str::to_owned);
        let mut claimed = self.store.claim(worker, &kinds, slots, lease).await.unwrap();
        claimed.sort_by(|left, right| left.step.cmp(&right.step));
        claimed
    }

    /// A worker that has said that it is there.
    pub(crate) async fn worker(&self) -> WorkerId {
        let worker =
            NewWorker { id: WorkerId::generate(), name: "w".into(), pid: 1, slots: 1, kinds: vec![] };
        self.store.register_worker(&worker).await.unwrap();
        worker.id
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.database.pool).await.unwrap();
    }

    /// The statement of a claim in a transaction that the caller keeps open: the lease token of the one job it took.
    pub(crate) async fn claim_in(&self, tx: &mut Tx, kind: &str) -> Option<i64> {
        let settings = include_str!("../../queries/job/claim_settings.sql");
        sqlx::query(settings).execute(tx.conn()).await.unwrap();
        let claim = sqlx::query(include_str!("../../queries/job/claim.sql"))
            .bind(vec![kind.to_owned()])
            .bind(1_i64)
            .bind(WorkerId::generate().as_uuid())
            .bind(LEASE.as_secs_f64());
        claim.fetch_one(tx.conn()).await.unwrap().try_get("lease_token").unwrap()
    }

    pub(crate) async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(1).await;
        assert_eq!(claimed.len(), 1, "one job can be claimed");
        claimed.remove(0)
    }

    pub(crate) async fn end(&self, claimed: &Claimed, ending: Ending) -> Settled {
        self.store.settle(&[(claimed.lease, ending)]).await.unwrap()
    }

    pub(crate) async fn complete(&self, claimed: &Claimed) -> Settled {
        self.end(claimed, Ending::Completed(json!({ "done": claimed.step }))).await
    }

    pub(crate) async fn checkpoint(&self, lease: Lease, value: Value) {
        let mut tx = self.store.begin().await.unwrap();
        self.store.checkpoint_in(&mut tx, lease, &value).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn append_log(&self, run: RunId, step: &str, attempt: u32, lines: &[NewLogLine]) {
        let mut tx = self.store.begin().await.unwrap();
        self.store.append_log(&mut tx, run, step, attempt, lines).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn page(&self, run: RunId) -> RunPage {
        self.store.run(run).await.unwrap()
    }

    pub(crate) async fn state(&self, run: RunId) -> RunState {
        self.page(run).await.run.state
    }

    /// `name:state` of each step, and how often it was attempted where that isn't once for a final step.
    pub(crate) async fn steps(&self, run: RunId) -> String {
        let page = self.page(run).await;
        let steps = page.step_list.iter().map(|step| format!("{}:{}", step.name, step.state));
        steps.collect::<Vec<_>>().join(" ")
    }

    pub(crate) async fn now(&self) -> Time {
        self.store.database_now().await.unwrap()
    }
}

pub(crate) fn fault() -> Fault {
    Fault::new("it broke")
}

pub(crate) fn names(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|job| job.step.as_str()).collect()
}
