//! What people return, raise and leave behind; code that changes under a run; artifacts and model files that are none.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value as Json, json};
use tidemill_core::RunState;
use tidemill_pipeline::{Code, retry_run};
use tidemill_pyrun::PyOptions;
use tidemill_runtime::{JobEntry, job_new};
use tidemill_store::{RunPage, StepRow};
use tidemill_testkit::run_until_idle;

use crate::world::{World, outputs, python};

fn only_step(page: &RunPage) -> &StepRow {
    &page.step_list[0]
}

#[tokio::test]
async fn what_cannot_be_kept_as_it_is_costs_no_attempt_of_a_training() {
    let world = World::new().await;
    let page = world.run("odd", &[("what", json!("odd values"))]).await;
    let step = only_step(&page);
    assert_eq!((page.run.state, step.attempts.len()), (RunState::Completed, 1), "{step:?}");
    let got = step.outputs.as_ref().unwrap();
    assert_eq!((&got["auc"], &got["name"]), (&json!(null), &json!("a\u{fffd}b")));
    assert_eq!(step.metrics, Some(json!({ "loss": null })));
    let artifact = world.blobs.fetch_folder(got["artifact"].as_str().unwrap()).await.unwrap();
    assert_eq!(fs::read_to_string(artifact.join("model.txt")).unwrap(), "trained for hours");
    assert_eq!(fs::read_to_string(artifact.join("a\u{fffd}b")).unwrap(), "beside it");

    let log = world.store().log(page.run.id, None, None).await.unwrap();
    let warnings: Vec<&str> = log.iter().filter_map(|line| line.line.strip_prefix("warning: ")).collect();
    assert_eq!(
        warnings,
        [
            "metrics.loss is not a finite number (inf); kept as null",
            "checkpoint.best is not a finite number (nan); kept as null",
            "checkpoint.name holds NUL or half a character; kept with U+FFFD in its place",
            "outputs.auc is not a finite number (nan); kept as null",
            "outputs.name holds NUL or half a character; kept with U+FFFD in its place",
            "outputs.artifact is set by the step itself; the function's is not kept",
            "`a\\nb` has a name that can't be kept; kept as `a\u{fffd}b`",
        ]
    );
}

#[tokio::test]
async fn what_is_raised_with_nul_fails_as_anything_else_does() {
    let world = World::new().await;
    let page = world.run("odd", &[("what", json!("raise"))]).await;
    let step = only_step(&page);
    assert_eq!((page.run.state, step.attempts.len()), (RunState::Failed, 3));
    let told = step.fault.as_ref().unwrap().to_string();
    assert!(told.starts_with("[TM0701] ValueError: a\u{fffd}b at models/odd.py:"), "{told}");
}

#[tokio::test]
async fn a_retry_runs_the_code_of_now_unless_it_is_pinned() {
    let world = World::new().await;
    // The mistake is in a module that only another module imports.
    world.apply_with(&[("models/helper.py", "def answer():\n    return fourty_two\n")]).await;
    let failed = world.run("odd", &[]).await;
    assert!(only_step(&failed).fault.as_ref().unwrap().message.contains("NameError"), "{failed:?}");
    world.apply_with(&[]).await;

    let run = failed.run.id;
    let retry = async |code| retry_run(&world.catalog, &world.blobs, run, code).await.unwrap();
    let pinned = retry(Code::Pinned).await;
    assert_eq!(pinned.steps, ["work"]);
    assert_eq!(pinned.code.changed, ["models/helper.py"]);
    world.driver().until_idle().await.unwrap();
    assert_eq!(world.store().run(run).await.unwrap().run.state, RunState::Failed);

    let current = retry(Code::Current).await;
    assert_eq!(
        (current.code.used, &current.code.changed[..]),
        (Code::Current, &["models/helper.py".to_owned()][..])
    );
    world.driver().until_idle().await.unwrap();
    let page = world.store().run(run).await.unwrap();
    assert_eq!(outputs(&page, "work")["answer"], 42);
    assert_eq!(page.run.context["code"], json!(world.catalog.code_hash().await.unwrap()));
}

#[tokio::test]
async fn a_version_keeps_the_code_it_was_trained_with() {
    let world = World::new().await;
    let then = world.catalog.code_hash().await.unwrap();
    let run = world.start("train", &[]).await;
    let driver = world.driver();
    let trained = async || {
        let page = world.store().run(run).await.unwrap();
        page.step_list.iter().any(|step| step.name == "train" && step.outputs.is_some())
    };
    while !trained().await {
        assert!(driver.one().await.unwrap());
    }
    world.apply_with(&[("models/helper.py", "def answer():\n    return 43\n")]).await;
    driver.until_idle().await.unwrap();
    let version = world.catalog.model_version("buyer", 1).await.unwrap().unwrap();
    assert_eq!(version.code_hash, then);
}

#[tokio::test]
async fn only_what_a_step_left_is_registered() {
    let world = World::new().await;
    let page = world.run("odd", &[("what", json!("artifact of another"))]).await;
    assert_eq!(outputs(&page, "work").get("artifact"), None, "user code names no artifact");
    fs::create_dir_all(world.home.path().join("blobs/artifacts")).unwrap();
    for artifact in ["/etc", "artifacts/../../postgres", "artifacts", "artifacts/x", "code", ""] {
        let page = world.run("adopt", &[("artifact", json!(artifact))]).await;
        let step = only_step(&page);
        let fault = step.fault.as_ref().unwrap();
        assert_eq!(
            fault.to_string(),
            format!("[TM0860] `{artifact}` is not an artifact that a step produced")
        );
        assert_eq!(step.attempts.len(), 1);
    }
    assert!(world.catalog.model_versions(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_model_file_that_breaks_or_hangs_fails_once_with_its_reason() {
    let world = World::new().await;
    let page = world.run("guess", &[]).await;
    let good = world.blobs.fetch_folder(outputs(&page, "train")["artifact"].as_str().unwrap()).await.unwrap();
    for (bytes, told) in [
        (&b"not a pickle"[..], "UnpicklingError"),
        // Calls `time.sleep(3600)` when it is loaded.
        (b"ctime\nsleep\n(I3600\ntR.", "took longer than its limit of 3 s"),
        (b"cos\nabort\n(tR.", "signal 6 abort"),
    ] {
        let artifact = spoilt(&world, &good, bytes).await;
        let python = PyOptions { time_limit: Duration::from_secs(3), ..python() };
        let step = registered(&world, world.jobs_with(python), &artifact).await;
        let fault = step.fault.as_ref().unwrap();
        assert_eq!((fault.code.unwrap().to_string().as_str(), step.attempts.len()), ("TM0861", 1), "{fault}");
        assert!(fault.message.starts_with(&format!("the model in `{artifact}` can't be used: ")), "{fault}");
        assert!(fault.message.contains(told), "{told}: {fault}");
    }
    assert_eq!(world.catalog.model_versions(None).await.unwrap().len(), 1);
}

/// The same folder with other bytes as the model's own file.
async fn spoilt(world: &World, good: &Path, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(good).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let told = fs::read_to_string(good.join("tidemill.json")).unwrap();
    let told: Json = serde_json::from_str(&told).unwrap();
    fs::write(folder.path().join(told["file"].as_str().unwrap()), bytes).unwrap();
    world.blobs.put_folder("artifacts", folder.path()).await.unwrap()
}

/// How the job that registers it ends, by itself.
async fn registered(world: &World, jobs: Vec<JobEntry>, artifact: &str) -> StepRow {
    let job = jobs.into_iter().find(|job| job.kind().as_str() == "model.register").unwrap();
    let args = json!({ "model": "ending_guess", "artifact": artifact });
    let mut tx = world.store().begin().await.unwrap();
    let run = world.store().enqueue(&mut tx, job_new(job.kind(), &args)).await.unwrap().run;
    tx.commit().await.unwrap();
    run_until_idle(world.store(), vec![job]).await.unwrap();
    world.store().run(run).await.unwrap().step_list.remove(0)
}
