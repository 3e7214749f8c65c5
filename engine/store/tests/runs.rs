//! Runs of several steps: countdown, skips, failures, retry and cancel by a person.

mod world;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidemill_core::{RunState, StepState};
use tidemill_store::{Ending, Error, NewJob, NewRun, NewStep, Trigger};
use tokio::sync::Barrier;
use world::{World, fault, job, names, run_of, step, world};

fn diamond() -> NewRun {
    run_of(vec![step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["b", "c"])])
}

#[tokio::test]
async fn a_diamond_runs_in_order_and_hands_outputs_down() {
    let world = world().await;
    let run = world.start(&diamond()).await;
    assert_eq!(world.steps(run).await, "a:available b:pending c:pending d:pending");
    let settled = world.complete(&world.claim_one().await).await;
    assert_eq!((settled.readied, settled.runs.len()), (2, 0));
    let both = world.claim(5).await;
    assert_eq!(names(&both), ["b", "c"]);
    assert_eq!(both[0].outputs, json!({ "a": { "done": "a" } }));
    assert_eq!((both[0].context.clone(), both[0].version), (json!({ "params": { "days": 7 } }), 3));
    assert_eq!(world.complete(&both[0]).await.readied, 0);
    assert_eq!(world.complete(&both[1]).await.readied, 1);
    let settled = world.complete(&world.claim_one().await).await;
    assert_eq!(settled.runs, [(run, RunState::Completed)]);
    let page = world.page(run).await;
    assert_eq!((page.run.steps, page.run.steps_done), (4, 4));
    assert!(page.run.seconds.unwrap() >= 0.0);
    assert_eq!(page.step_list[3].needs, ["b", "c"]);
    assert!(page.step_list.iter().all(|step| step.attempts.len() == 1 && step.checkpoint.is_none()));
}

#[tokio::test]
async fn siblings_that_end_at_the_same_moment_ready_their_child_once() {
    let world = world().await;
    for _ in 0..25 {
        let run = world.start(&diamond()).await;
        world.complete(&world.claim_one().await).await;
        let both = world.claim(2).await;
        let (left, right) = tokio::join!(world.complete(&both[0]), world.complete(&both[1]));
        assert_eq!(left.readied + right.readied, 1);
        world.complete(&world.claim_one().await).await;
        assert_eq!(world.state(run).await, RunState::Completed);
    }
}

#[tokio::test]
async fn what_needs_a_skipped_step_is_skipped() {
    let world = world().await;
    let run = world
        .start(&run_of(vec![
            step("a", &[]),
            step("b", &["a"]),
            step("c", &["b"]),
            step("d", &["c", "e"]),
            step("e", &[]),
        ]))
        .await;
    let first = world.claim(5).await;
    assert_eq!(names(&first), ["a", "e"]);
    world.end(&first[0], Ending::Skipped("the condition is false".into())).await;
    assert_eq!(world.steps(run).await, "a:skipped b:skipped c:skipped d:skipped e:running");
    let settled = world.complete(&first[1]).await;
    assert_eq!(settled.runs, [(run, RunState::Completed)]);
    let page = world.page(run).await;
    assert_eq!(page.step_list[0].reason.as_deref(), Some("the condition is false"));
    assert!(page.step_list[1].reason.is_some());
}

/// A run of which `b` failed, `c` completed and `d` waits for both.
async fn failed_diamond(world: &World) -> tidemill_core::RunId {
    let run = world.start(&diamond()).await;
    world.complete(&world.claim_one().await).await;
    let both = world.claim(5).await;
    world.end(&both[0], Ending::Discard(fault())).await;
    assert_eq!(world.state(run).await, RunState::Running);
    world.complete(&both[1]).await;
    run
}

#[tokio::test]
async fn a_failed_step_fails_its_run_when_nothing_else_can_go_on() {
    let world = world().await;
    let run = failed_diamond(&world).await;
    let page = world.page(run).await;
    assert_eq!(page.run.state, RunState::Failed);
    assert_eq!(page.run.fault, Some(fault()));
    assert_eq!(world.steps(run).await, "a:completed b:failed c:completed d:pending");
}

#[tokio::test]
async fn a_retry_repeats_only_what_failed_and_what_it_blocked() {
    let world = world().await;
    let run = failed_diamond(&world).await;
    assert_eq!(world.store.retry_run(run, &serde_json::Map::new()).await.unwrap(), ["b"]);
    assert_eq!(world.steps(run).await, "a:completed b:available c:completed d:pending");
    let again = world.claim(5).await;
    assert_eq!((names(&again), again[0].attempt, again[0].charged), (vec!["b"], 2, 0));
    world.complete(&again[0]).await;
    let settled = world.complete(&world.claim_one().await).await;
    assert_eq!(settled.runs, [(run, RunState::Completed)]);
    let page = world.page(run).await;
    let attempts: Vec<_> = page.step_list.iter().map(|step| step.attempts.len()).collect();
    assert_eq!(attempts, [1, 2, 1, 1]);
    assert!(world.store.retry_run(run, &serde_json::Map::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_retried_step_goes_on_from_its_checkpoint() {
    let world = world().await;
    let run = world.start(&run_of(vec![step("a", &[])])).await;
    let claimed = world.claim_one().await;
    world.checkpoint(claimed.lease, json!({ "chunk": 7 })).await;
    world.end(&claimed, Ending::Discard(fault())).await;
    world.store.retry_run(run, &serde_json::Map::new()).await.unwrap();
    assert_eq!(world.claim_one().await.checkpoint, Some(json!({ "chunk": 7 })));
}

#[tokio::test]
async fn a_retry_replaces_what_it_is_told_in_what_is_still_to_be_done() {
    let world = world().await;
    let coded = |name: &str, needs: &[&str]| NewStep {
        args: json!({ "step": name, "code": "then" }),
        ..step(name, needs)
    };
    let steps = vec![coded("a", &[]), coded("b", &["a"]), step("c", &["a"]), coded("d", &["b"])];
    let run =
        world.start(&NewRun { context: json!({ "code": "then", "params": {} }), ..run_of(steps) }).await;
    world.complete(&world.claim_one().await).await;
    let both = world.claim(5).await;
    world.end(&both[0], Ending::Discard(fault())).await;
    world.end(&both[1], Ending::Discard(fault())).await;
    let now = json!({ "code": "now", "unknown": 1 }).as_object().cloned().unwrap();
    assert_eq!(world.store.retry_run(run, &now).await.unwrap(), ["b", "c"]);
    let page = world.page(run).await;
    assert_eq!(page.run.context, json!({ "code": "now", "params": {} }));
    let args: Vec<_> = page.step_list.iter().map(|step| step.args["code"].as_str()).collect();
    assert_eq!(args, [Some("then"), Some("now"), None, Some("now")]);
    // A second call repeats nothing, and so replaces nothing.
    let later = json!({ "code": "later" }).as_object().cloned().unwrap();
    assert!(world.store.retry_run(run, &later).await.unwrap().is_empty());
    assert_eq!(world.page(run).await.run.context["code"], "now");
}

#[tokio::test]
async fn failed_runs_can_be_listed_since_a_moment() {
    let world = world().await;
    let before = world.now().await;
    let run = failed_diamond(&world).await;
    let single = world.enqueue(job("a")).await.run;
    world.end(&world.claim_one().await, Ending::Discard(fault())).await;
    world
        .complete(&{
            world.enqueue(job("b")).await;
            world.claim_one().await
        })
        .await;
    let failed = |since, pipeline: Option<&str>| {
        let (store, pipeline) = (world.store.clone(), pipeline.map(str::to_owned));
        async move {
            let runs = store.failed_runs(since, pipeline).await.unwrap();
            runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(failed(Some(before), None).await, [single, run]);
    assert_eq!(failed(None, Some("pipe")).await, [run]);
    let after = world.now().await;
    assert!(failed(Some(after), None).await.is_empty());
}

#[tokio::test]
async fn a_cancel_stops_what_waits_at_once_and_asks_what_runs() {
    let world = world().await;
    let run = world.start(&diamond()).await;
    world.complete(&world.claim_one().await).await;
    let running = world.claim_one().await;
    world.store.cancel_run(run, "asked by ada").await.unwrap();
    assert_eq!(world.steps(run).await, "a:completed b:running c:cancelled d:cancelled");
    let renewed = world.store.renew(&[running.lease], world::LEASE).await.unwrap();
    assert_eq!(renewed[0].cancel_reason.as_deref(), Some("asked by ada"));
    let settled = world.end(&running, Ending::Cancel("asked by ada".into())).await;
    assert_eq!(settled.runs, [(run, RunState::Cancelled)]);

    // A person may change their mind: everything that was cancelled runs after all.
    assert_eq!(world.store.retry_run(run, &serde_json::Map::new()).await.unwrap().len(), 2);
    for claimed in world.claim(5).await {
        assert_eq!(claimed.cancel_reason, None);
        world.complete(&claimed).await;
    }
    world.complete(&world.claim_one().await).await;
    assert_eq!(world.state(run).await, RunState::Completed);
}

#[tokio::test]
async fn a_job_that_would_retry_after_a_cancel_comes_back_to_be_cancelled() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let running = world.claim_one().await;
    world.store.cancel_run(run, "stop").await.unwrap();
    let later = Duration::from_hours(1);
    world.end(&running, Ending::Retry(later, fault())).await;
    let back = world.claim_one().await;
    assert_eq!(back.cancel_reason.as_deref(), Some("stop"));
    world.end(&back, Ending::Cancel("stop".into())).await;
    assert_eq!(world.state(run).await, RunState::Cancelled);
}

#[tokio::test]
async fn a_run_that_has_ended_is_not_cancelled() {
    let world = world().await;
    let run = failed_diamond(&world).await;
    world.store.cancel_run(run, "too late").await.unwrap();
    assert_eq!(world.state(run).await, RunState::Failed);
    assert_eq!(world.steps(run).await, "a:completed b:failed c:completed d:pending");
    let unknown = tidemill_core::RunId::generate();
    assert!(matches!(world.store.cancel_run(unknown, "?").await, Err(Error::NoRun(_))));
}

#[tokio::test]
async fn a_cancel_waits_for_the_claim_that_it_meets_and_asks_what_was_claimed() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let mut claiming = world.store.begin().await.unwrap();
    let token: i64 = world.claim_in(&mut claiming, "a").await.expect("the job waits");
    let cancel = tokio::spawn({
        let store = world.store.clone();
        async move { store.cancel_run(run, "enough").await }
    });
    world.database.until_blocked(1).await;
    claiming.commit().await.unwrap();
    cancel.await.unwrap().unwrap();
    let asked = "SELECT cancel_reason FROM engine.job WHERE lease_token = $1";
    let asked = sqlx::query_scalar::<_, Option<String>>(asked).bind(token);
    assert_eq!(asked.fetch_one(&world.database.pool).await.unwrap().as_deref(), Some("enough"));
}

#[tokio::test]
async fn a_claim_that_meets_a_cancel_passes_over_what_is_being_cancelled() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let mut cancelling = world.store.begin().await.unwrap();
    world.store.cancel_run_in(&mut cancelling, run, "enough").await.unwrap();
    assert!(world.claim(1).await.is_empty());
    cancelling.commit().await.unwrap();
    assert!(world.claim(1).await.is_empty());
    assert_eq!(world.state(run).await, RunState::Cancelled);
}

#[tokio::test]
async fn of_cancels_and_claims_at_once_each_run_is_cancelled_or_asked_to_stop() {
    let world = world().await;
    for round in 0..20 {
        let mut runs = Vec::new();
        for _ in 0..8 {
            runs.push(world.enqueue(job("a")).await.run);
        }
        let start = Arc::new(Barrier::new(runs.len() + 1));
        let cancels = runs.iter().copied().map(|run| {
            let (store, start) = (world.store.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                store.cancel_run(run, "enough").await.unwrap();
            })
        });
        let cancels: Vec<_> = cancels.collect();
        start.wait().await;
        let claimed = world.claim(8).await;
        for cancel in cancels {
            cancel.await.unwrap();
        }
        let leases: Vec<_> = claimed.iter().map(|one| one.lease).collect();
        let renewed = world.store.renew(&leases, world::LEASE).await.unwrap();
        assert!(renewed.iter().all(|one| one.cancel_reason.is_some()), "round {round}: one was not asked");
        for one in &claimed {
            world.end(one, Ending::Cancel("enough".into())).await;
        }
        for run in runs {
            assert_eq!(world.state(run).await, RunState::Cancelled, "round {round}");
        }
    }
}

#[tokio::test]
async fn a_cancel_that_races_completions_leaves_a_final_run() {
    let world = world().await;
    for _ in 0..25 {
        let run = world.start(&diamond()).await;
        world.complete(&world.claim_one().await).await;
        let both = world.claim(2).await;
        let cancel = world.store.cancel_run(run, "race");
        let (left, cancelled, right) =
            tokio::join!(world.complete(&both[0]), cancel, world.complete(&both[1]));
        cancelled.unwrap();
        assert_eq!(left.fenced + right.fenced, 0);
        for claimed in world.claim(5).await {
            world.end(&claimed, Ending::Cancel("race".into())).await;
        }
        assert!(world.state(run).await.is_final());
        assert!(world.page(run).await.step_list.iter().all(|step| step.state.is_final()));
    }
}

#[tokio::test]
async fn a_key_starts_a_run_once_for_ever() {
    let world = world().await;
    let keyed =
        NewRun { key: Some("2013-06-01".into()), trigger: Trigger::Schedule, ..run_of(vec![step("a", &[])]) };
    let run = world.start(&keyed).await;
    world.complete(&world.claim_one().await).await;
    assert_eq!(world.start(&keyed).await, run);
    assert!(world.claim(5).await.is_empty());
    let other = NewRun { pipeline: "other".into(), ..keyed };
    assert_ne!(world.start(&other).await, run);
}

#[tokio::test]
async fn impossible_steps_are_refused_before_anything_is_written() {
    let world = world().await;
    for (steps, says) in [
        (vec![], "no steps"),
        (vec![step("a", &["b"]), step("b", &["a"])], "wait for one another"),
        (vec![step("a", &["z"])], "needs `z`"),
        (vec![step("a", &[]), step("a", &[])], "declared twice"),
    ] {
        let mut tx = world.store.begin().await.unwrap();
        let error = world.store.enqueue_run(&mut tx, &run_of(steps)).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_need_named_twice_counts_once() {
    let world = world().await;
    let run = world.start(&run_of(vec![step("a", &[]), step("b", &["a", "a"])])).await;
    world.complete(&world.claim_one().await).await;
    world.complete(&world.claim_one().await).await;
    assert_eq!(world.state(run).await, RunState::Completed);
}

#[tokio::test]
async fn a_wide_run_is_joined_by_batches() {
    let world = world().await;
    let mut steps: Vec<NewStep> = (0..500).map(|n| step(&format!("part{n:03}"), &[])).collect();
    let parts: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let join = step("join", &parts);
    steps.push(join);
    let run = world.start(&run_of(steps)).await;
    let mut readied = 0;
    for _ in 0..5 {
        let claimed = world.claim(100).await;
        let endings: Vec<_> =
            claimed.iter().map(|one| (one.lease, Ending::Completed(json!({ "part": one.step })))).collect();
        readied += world.store.settle(&endings).await.unwrap().readied;
    }
    assert_eq!(readied, 1);
    let join = world.claim_one().await;
    assert_eq!(join.outputs.as_object().unwrap().len(), 500);
    assert_eq!(world.complete(&join).await.runs, [(run, RunState::Completed)]);
}

#[tokio::test]
async fn a_batch_may_hold_every_kind_of_ending() {
    let world = world().await;
    let kinds = ["a", "b", "c"];
    for kind in kinds.iter().chain(&kinds) {
        world.enqueue(job(kind)).await;
    }
    let claimed = world.claim(6).await;
    let later = Duration::from_hours(1);
    let endings = [
        Ending::Completed(json!(1)),
        Ending::Skipped("no need".into()),
        Ending::Retry(later, fault()),
        Ending::Snooze(later, "not yet".into()),
        Ending::Discard(fault()),
        Ending::Cancel("stop".into()),
    ];
    let batch: Vec<_> = claimed.iter().map(|one| one.lease).zip(endings).collect();
    let settled = world.store.settle(&batch).await.unwrap();
    assert_eq!((settled.fenced, settled.runs.len()), (0, 4));
    let mut states = Vec::new();
    for one in &claimed {
        states.push(world.page(one.run).await.step_list[0].state);
    }
    assert_eq!(
        states,
        [
            StepState::Completed,
            StepState::Skipped,
            StepState::Retryable,
            StepState::Scheduled,
            StepState::Failed,
            StepState::Cancelled,
        ]
    );
}

#[tokio::test]
async fn params_and_metrics_stay_with_the_step() {
    let world = world().await;
    let run = world.start(&run_of(vec![step("a", &[])])).await;
    let claimed = world.claim_one().await;
    world.store.log_values(claimed.lease, &json!({ "leaves": 31, "rate": 0.1 }), &json!({})).await.unwrap();
    world.store.log_values(claimed.lease, &json!({ "rate": 0.05 }), &json!({ "auc": 0.76 })).await.unwrap();
    world.complete(&claimed).await;
    let step = world.page(run).await.step_list.remove(0);
    assert_eq!(step.params, Some(json!({ "leaves": 31, "rate": 0.05 })));
    assert_eq!(step.metrics, Some(json!({ "auc": 0.76 })));
}

#[tokio::test]
async fn a_run_page_reads_well_as_json() {
    let world = world().await;
    let run = world
        .start(&NewRun { key: Some("k".into()), ..run_of(vec![step("a", &[]), step("b", &["a"])]) })
        .await;
    let page = serde_json::to_value(world.page(run).await).unwrap();
    assert_eq!(page["id"], json!(run.to_string()));
    assert_eq!(
        (&page["state"], &page["pipeline"], &page["key"]),
        (&json!("running"), &json!("pipe"), &json!("k"))
    );
    assert!(page["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(page["step_list"][1]["needs"], json!(["a"]));
    let list = world.store.runs(&query()).await.unwrap();
    assert_eq!(list.len(), 1);
    world.enqueue(NewJob { priority: 1, ..job("c") }).await;
    assert_eq!(
        world.store.runs(&query()).await.unwrap().len(),
        1,
        "single jobs are not listed unless asked for"
    );
}

fn query() -> tidemill_store::RunQuery {
    tidemill_store::RunQuery { state: None, pipeline: None, all: false, finished_since: None, limit: 10 }
}
