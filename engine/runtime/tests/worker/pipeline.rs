//! Steps of a run: prepared when they start, skipped by their conditions, retried by people.

use std::sync::Arc;

use serde_json::{Value, json};
use tidemill_core::{AttemptPolicy, Fault, JobError, Kind, RunId, RunState, StepState};
use tidemill_runtime::{JobEntry, Outcome, Prepare, Prepared, StepStart};
use tidemill_store::{NewRun, NewStep, Trigger};
use tidemill_testkit::Driver;

use crate::world::{Count, KIND, World, scripted};

/// Args `"$NAME"` become the outputs of step NAME; the condition `no` skips.
struct Outputs;

impl Prepare for Outputs {
    fn prepare(&self, step: &StepStart<'_>) -> Result<Prepared, Fault> {
        if step.condition == Some("no") {
            return Ok(Prepared::Skip("its condition is false".to_owned()));
        }
        let name = step.args.as_str().and_then(|text| text.strip_prefix('$'));
        let args = name.map_or_else(|| step.args.clone(), |name| step.outputs[name].clone());
        Ok(Prepared::Run(args))
    }
}

fn step(name: &str, args: Value, needs: &[&str], condition: Option<&str>) -> NewStep {
    NewStep {
        name: name.to_owned(),
        kind: Kind::new("test.scripted"),
        args,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        condition: condition.map(str::to_owned),
        policy: AttemptPolicy::default(),
        priority: 0,
        concurrency_key: None,
    }
}

async fn start(world: &World, steps: Vec<NewStep>) -> RunId {
    let run = NewRun {
        pipeline: "diamond".to_owned(),
        version: 1,
        context: json!({}),
        key: None,
        trigger: Trigger::Manual,
        logical_time: None,
        steps,
    };
    let mut tx = world.store().begin().await.unwrap();
    let enqueued = world.store().enqueue_run(&mut tx, &run).await.unwrap();
    tx.commit().await.unwrap();
    enqueued.run
}

fn driver(world: &World, job: JobEntry) -> Driver {
    assert_eq!(job.kind(), KIND);
    Driver::with_prepare(world.store(), vec![job], Arc::new(Outputs))
}

#[tokio::test]
async fn a_step_is_given_the_outputs_of_those_it_needs() {
    let world = World::new().await;
    let job = scripted(|args, _| Box::pin(async move { Ok(Outcome::Completed(json!({ "got": args }))) }));
    let steps = vec![
        step("data", json!(7), &[], None),
        step("left", json!("$data"), &["data"], None),
        step("right", json!("$data"), &["data"], None),
        step("join", json!("$left"), &["left", "right"], None),
    ];
    let run = start(&world, steps).await;
    driver(&world, job).until_idle().await.unwrap();
    let page = world.store().run(run).await.unwrap();
    assert_eq!(page.run.state, RunState::Completed);
    assert_eq!(page.step_list[3].outputs, Some(json!({ "got": { "got": { "got": 7 } } })));
}

#[tokio::test]
async fn a_false_condition_skips_the_step_and_what_needs_it() {
    let world = World::new().await;
    let job = scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) }));
    let steps = vec![
        step("gate", json!(1), &[], None),
        step("rollout", json!(1), &["gate"], Some("no")),
        step("tell", json!(1), &["rollout"], None),
    ];
    let run = start(&world, steps).await;
    driver(&world, job).until_idle().await.unwrap();
    let page = world.store().run(run).await.unwrap();
    assert_eq!(page.run.state, RunState::Completed);
    let states: Vec<_> = page.step_list.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Completed, StepState::Skipped, StepState::Skipped]);
    assert_eq!(page.step_list[1].reason.as_deref(), Some("its condition is false"));
}

#[tokio::test]
async fn a_retry_repeats_the_failed_step_and_what_it_blocked_alone() {
    let world = World::new().await;
    let count = Count::default();
    let counted = count.clone();
    let job = scripted(move |args, _| {
        let calls = counted.add();
        Box::pin(async move {
            if args == json!("train") && calls == 2 {
                return Err(JobError::Discard(Fault::new("out of luck")));
            }
            Ok(Outcome::DONE)
        })
    });
    let steps = vec![
        step("data", json!("data"), &[], None),
        step("train", json!("train"), &["data"], None),
        step("register", json!("register"), &["train"], None),
    ];
    let run = start(&world, steps).await;
    driver(&world, job.clone()).until_idle().await.unwrap();
    assert_eq!(world.store().run(run).await.unwrap().run.state, RunState::Failed);
    assert_eq!(world.store().retry_run(run, &serde_json::Map::new()).await.unwrap(), ["train"]);
    driver(&world, job).until_idle().await.unwrap();
    let page = world.store().run(run).await.unwrap();
    assert_eq!(page.run.state, RunState::Completed);
    let attempts: Vec<_> = page.step_list.iter().map(|step| step.attempts.len()).collect();
    assert_eq!(attempts, [1, 2, 1]);
}
