//! Training, registration, the gate, promotion, rollback, scoring.

use std::{fs, path::Path};

use serde_json::json;
use tidemill_core::{RunState, StepState};
use tidemill_offline::{Read, Table};
use tidemill_spec::OutputType;

use crate::world::{HOLDOUT_FROM, VISITS, World, outputs};

#[tokio::test]
async fn a_first_version_becomes_champion_and_one_as_good_takes_over() {
    let world = World::new().await;
    let first = world.run("train", &[]).await;
    assert_eq!(first.run.state, RunState::Completed, "{:#?}", first.step_list);
    assert_eq!(outputs(&first, "register")["version"], 1);
    let gate = outputs(&first, "gate");
    assert_eq!((&gate["delta"], &gate["against"]), (&json!(0.0), &json!(null)));
    assert!(gate["candidate"].as_f64().unwrap() > 0.7, "{gate}");

    let version = world.catalog.model_version("buyer", 1).await.unwrap().unwrap();
    assert_eq!(
        Some(version.dataset.unwrap().to_string()),
        outputs(&first, "data")["dataset"].as_str().map(str::to_owned)
    );
    assert_eq!(version.categories["landing"], ["offer", "search"]);
    assert_eq!(version.view_versions["visit_pages"], 1);
    assert_eq!(version.params["rows"], HOLDOUT_FROM - 12);
    let figures = world.catalog.model_metrics("buyer").await.unwrap();
    let holdout = outputs(&first, "data")["holdout"].as_str().unwrap();
    let auc = figures.iter().find(|figure| figure.subject == holdout && figure.metric == "auc").unwrap();
    assert_eq!((Some(auc.value), auc.rows), (gate["candidate"].as_f64(), VISITS - HOLDOUT_FROM));
    assert!(figures.iter().any(|figure| figure.subject == "training" && figure.metric == "trees"));

    let second = world.run("train", &[]).await;
    assert_eq!(outputs(&second, "register")["version"], 2);
    let rematch = outputs(&second, "gate");
    assert_eq!((&rematch["against"], &rematch["delta"]), (&gate["candidate"], &json!(0.0)));
    let live = world.online.live().await.unwrap().unwrap();
    let versions: Vec<u32> = live.models["buyer"].versions.keys().copied().collect();
    assert_eq!((live.models["buyer"].aliases["champion"], versions), (2, vec![2, 1]));

    // A mistyped alias would let every candidate pass.
    let args = json!({
        "model": "buyer", "candidate": 2, "against": "chmapion", "dataset": holdout, "metric": "auc",
    });
    let fault = world.job("model.compare", &args).await.unwrap_err();
    assert_eq!(fault.to_string(), "[TM0802] model `buyer` has no alias `chmapion`");

    let back = tidemill_registry::rollback(&world.catalog, &world.online, "buyer", "champion").await.unwrap();
    assert_eq!((back.version, back.serving.len()), (Some(1), 0));
    assert_eq!(back.waiting, ["no serving process is running: tidemill serve"]);
    let live = world.online.live().await.unwrap().unwrap();
    assert_eq!(live.models["buyer"].aliases["champion"], 1);
    assert!(tidemill_registry::rollback(&world.catalog, &world.online, "buyer", "champion").await.is_err());
    let up = world.catalog.lineage_up("model/buyer@2").await.unwrap();
    assert!(up.iter().any(|edge| edge.from == "label/bought"), "{up:?}");
}

#[tokio::test]
async fn a_worse_version_is_registered_but_not_promoted() {
    let world = World::new().await;
    world.run("train", &[]).await;
    let page = world.run("train", &[("learning_rate", json!(0.4))]).await;
    let delta = outputs(&page, "gate")["delta"].as_f64().unwrap();
    assert!(delta < -0.005, "{delta}");
    let rollout = page.step_list.iter().find(|step| step.name == "rollout").unwrap();
    assert_eq!((page.run.state, rollout.state), (RunState::Completed, StepState::Skipped));
    assert_eq!(rollout.reason.as_deref(), Some("`steps.gate.outputs.delta >= -0.005` is false"));
    assert_eq!(world.catalog.model_alias("buyer", "champion").await.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn a_failed_training_goes_on_from_its_checkpoint() {
    let world = World::new().await;
    let page = world.run("train", &[("fail_at", json!(6))]).await;
    assert_eq!(page.run.state, RunState::Completed, "{:#?}", page.step_list);
    for step in &page.step_list {
        assert_eq!(step.attempts.len(), if step.name == "train" { 2 } else { 1 }, "{}", step.name);
    }
    assert_eq!(outputs(&page, "train")["trees"], 12);
    let log = world.store().log(page.run.id, Some("train"), Some(2)).await.unwrap();
    let trees: Vec<&str> =
        log.iter().map(|line| line.line.as_str()).filter(|line| line.starts_with("tree")).collect();
    assert_eq!((trees[0], trees.len()), ("tree 5", 8));
    let train = page.step_list.iter().find(|step| step.name == "train").unwrap();
    let fault = train.attempts[0].fault.as_ref().unwrap();
    assert!(fault.message.contains("told to fail at tree 6"), "{fault}");
}

#[tokio::test]
async fn a_version_is_scored_and_its_predictions_are_kept() {
    let world = World::new().await;
    world.run("train", &[]).await;
    let page = world.run("score", &[]).await;
    assert_eq!(page.run.state, RunState::Completed, "{:#?}", page.step_list);
    let evaluation = outputs(&page, "evaluate");
    assert_eq!((&evaluation["rows"], &evaluation["version"]), (&json!(VISITS), &json!(1)));
    assert!(evaluation["auc"].as_f64().unwrap() > 0.7, "{evaluation}");
    assert_eq!(outputs(&page, "predict")["rows"], VISITS);
    assert_eq!(outputs(&page, "check"), &json!({ "rows": VISITS, "failed": 0 }));

    let head = world.lake.head().await.unwrap();
    let table = world.lake.read(&Read::all(Table::predictions("buyer"), head)).await.unwrap();
    let rows = tidemill_rows::json_rows(&table).unwrap();
    let mean = rows.iter().map(|row| row["probability"].as_f64().unwrap()).sum::<f64>() / rows.len() as f64;
    assert!((mean - evaluation["mean_prediction"].as_f64().unwrap()).abs() < 1e-12);
    assert_eq!((&rows[0]["model_version"], rows[0]["valid_at"].is_null()), (&json!(1), false));
}

#[tokio::test]
async fn a_class_and_a_vector_go_the_whole_way() {
    let world = World::new().await;
    let page = world.run("guess", &[]).await;
    assert_eq!(page.run.state, RunState::Completed, "{:#?}", page.step_list);
    let (gate, evaluation) = (outputs(&page, "gate"), outputs(&page, "evaluate"));
    assert_eq!((&gate["metric"], &gate["candidate"]), (&json!("accuracy"), &evaluation["accuracy"]));
    // Every seventh visit ends otherwise than its pages say.
    let accuracy = evaluation["accuracy"].as_f64().unwrap();
    assert!((0.8..0.95).contains(&accuracy), "{evaluation}");
    assert!(evaluation["log_loss"].as_f64().unwrap() > 0.0);
    assert_eq!((&evaluation["auc"], &evaluation["mean_prediction"]), (&json!(null), &json!(null)));
    let figures = world.catalog.model_metrics("ending_guess").await.unwrap();
    assert!(figures.iter().any(|figure| figure.metric == "accuracy"));
    let live = world.online.live().await.unwrap().unwrap();
    let classes = ["left", "even", "odd"].map(str::to_owned);
    let version = live.models["ending_guess"].versions[&1].as_ref().unwrap();
    assert_eq!(version.outputs["ending"], OutputType::Class(classes.into()));

    let head = world.lake.head().await.unwrap();
    let table = world.lake.read(&Read::all(Table::predictions("ending_guess"), head)).await.unwrap();
    let rows = tidemill_rows::json_rows(&table).unwrap();
    // The label has the output's name, so it is kept under another.
    let right = rows.iter().filter(|row| row["ending"] == row["asked_ending"]).count();
    assert!((right as f64 / rows.len() as f64 - accuracy).abs() < 1e-12);
    let place = (&rows[0]["place_0"], rows[0]["place_1"].as_f64());
    assert_eq!(place, (&json!((rows[0]["visit"].as_i64().unwrap() % 2) as f64), rows[0]["pages"].as_f64()));

    // An AUC is of two classes.
    let holdout = &outputs(&page, "data")["holdout"];
    let args = json!({
        "model": "ending_guess", "candidate": 1, "against": "champion", "dataset": holdout, "metric": "auc",
    });
    let fault = world.job("model.compare", &args).await.unwrap_err();
    let told = format!(
        "auc can't be computed on {}: it needs an output of two classes, and labels of both",
        holdout.as_str().unwrap()
    );
    assert_eq!((fault.code.unwrap().to_string().as_str(), fault.message), ("TM0805", told));
}

#[tokio::test]
async fn an_artifact_that_is_not_what_the_model_declares_is_refused() {
    let world = World::new().await;
    let first = world.run("train", &[]).await;
    let second = world.run("train", &[("learning_rate", json!(0.4))]).await;
    let folder = async |page| {
        let artifact = outputs(page, "train")["artifact"].as_str().unwrap().to_owned();
        world.blobs.fetch_folder(&artifact).await.unwrap()
    };
    let (good, other) = (folder(&first).await, folder(&second).await);
    let rename = |text: String| text.replace("probability", "chance");
    type Spoil<'a> = dyn Fn(&Path) + 'a;
    let cases: [(&str, &Spoil<'_>, &str, &str); 6] = [
        (
            "no model at all",
            &|folder| fs::remove_file(folder.join("tidemill.json")).unwrap(),
            "TM0820",
            "tidemill.json",
        ),
        (
            "no MLmodel, hence no signature for MLflow",
            &|folder| fs::remove_file(folder.join("MLmodel")).unwrap(),
            "TM0804",
            "MLmodel",
        ),
        (
            "no golden rows",
            &|folder| fs::remove_file(folder.join("golden.arrow")).unwrap(),
            "TM0820",
            "golden.arrow",
        ),
        (
            "another output",
            &|folder| {
                let file = folder.join("tidemill.json");
                fs::write(&file, rename(fs::read_to_string(&file).unwrap())).unwrap();
            },
            "TM0804",
            "output 1 is `chance` (float), but the model declares `probability` (float)",
        ),
        (
            "another model than the one that predicted the golden rows",
            &|folder| {
                fs::copy(other.join("model.txt"), folder.join("model.txt")).unwrap();
            },
            "TM0821",
            "golden row 0: `probability`",
        ),
        (
            "a model that fails where serving may find nothing",
            &|folder| fails_on_nulls(folder),
            "TM0870",
            "model `buyer` fails where pages is null, and an unknown entity has no value for it",
        ),
    ];
    for (what, spoil, code, told) in cases {
        let spoilt = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&good).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), spoilt.path().join(entry.file_name())).unwrap();
        }
        spoil(spoilt.path());
        let artifact = world.blobs.put_folder("artifacts", spoilt.path()).await.unwrap();
        let fault = world.job("model.register", &json!({ "model": "buyer", "artifact": artifact })).await;
        let fault = fault.unwrap_err();
        assert_eq!(fault.code.unwrap().to_string(), code, "{what}: {fault}");
        assert!(fault.message.contains(told), "{what}: {fault}");
    }
    assert_eq!(world.catalog.model_versions(None).await.unwrap().len(), 2);
    // The remedy that the last one names.
    let strict = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&good).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), strict.path().join(entry.file_name())).unwrap();
    }
    fails_on_nulls(strict.path());
    let artifact = world.blobs.put_folder("artifacts", strict.path()).await.unwrap();
    let args = json!({ "model": "strict_buyer", "artifact": artifact });
    assert_eq!(world.job("model.register", &args).await.unwrap()["version"], 1);
}

#[tokio::test]
async fn a_person_s_file_becomes_a_version_that_predicts_as_its_model_does() {
    let world = World::new().await;
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| home.path().join(name).display().to_string();
    let register = async |args: serde_json::Value| world.job("model.register", &args).await;
    fs::write(place("booster.txt"), "not one").unwrap();
    let fault = register(json!({ "model": "buyer", "file": place("booster.txt") })).await.unwrap_err();
    assert_eq!(fault.to_string(), "[TM0808] there are no rows to prove a file of model `buyer` with");

    let page = world.run("train", &[]).await;
    let trained = outputs(&page, "train")["artifact"].as_str().unwrap().to_owned();
    let folder = world.blobs.fetch_folder(&trained).await.unwrap();
    let dataset = outputs(&page, "data")["holdout"].clone();
    let scored = async |version: i64| {
        let args = json!({ "model": "buyer", "version": version, "dataset": dataset });
        world.job("model.evaluate", &args).await.unwrap()["log_loss"].as_f64().unwrap()
    };

    // The booster alone, proven with the newest dataset: the same artifact's figures, bit for bit.
    fs::copy(folder.join("model.txt"), place("booster.txt")).unwrap();
    let version = register(json!({ "model": "buyer", "file": place("booster.txt") })).await.unwrap();
    assert_eq!(version["version"], 2);
    assert_eq!(scored(2).await.to_bits(), scored(1).await.to_bits());
    let up = world.catalog.lineage_up("model/buyer@2").await.unwrap();
    assert!(up.iter().any(|edge| edge.from.starts_with("file/booster.txt@")), "{up:?}");
    assert!(world.catalog.model_version("buyer", 2).await.unwrap().unwrap().dataset.is_none());

    // Uploaded, the whole folder and a sample: files are named by their content.
    let put = async |bytes: Vec<u8>| world.blobs.put(bytes.into()).await.unwrap().to_string();
    let mut uploaded = serde_json::Map::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        uploaded.insert(name, put(fs::read(entry.path()).unwrap()).await.into());
    }
    let sample = put(b"pages,landing\n1,offer\n9,search\n4,\n".to_vec()).await;
    let given = json!({
        "model": "buyer", "file": "buyer", "uploaded": uploaded, "sample": "rows.csv", "uploaded_sample": sample,
    });
    assert_eq!(register(given.clone()).await.unwrap()["version"], 3);
    assert_eq!(scored(3).await.to_bits(), scored(1).await.to_bits());

    fs::write(place("rows.csv"), "pages\n1\n").unwrap();
    fs::write(place("model.h5"), "").unwrap();
    let mut outside = given;
    outside["uploaded"] = json!({ "../model.txt": sample });
    let file = place("booster.txt");
    let cases = [
        (json!({ "model": "buyer", "file": file, "sample": place("rows.csv") }), "TM0806", "rows.csv lacks"),
        (json!({ "model": "buyer", "file": place("model.h5") }), "TM0806", "give a file ending in .pkl"),
        (json!({ "model": "buyer", "file": place("nothing.pkl") }), "TM0807", "No such file"),
        (json!({ "model": "nobody", "file": file }), "TM0801", "there is no model `nobody`"),
        (outside, "TM0807", "`../model.txt` is no file of an upload"),
        (json!({ "model": "buyer" }), "TM0860", "is not an artifact"),
    ];
    for (args, code, told) in cases {
        let fault = register(args).await.unwrap_err();
        assert_eq!(fault.code.unwrap().to_string(), code, "{fault}");
        assert!(fault.message.contains(told), "{fault}");
    }
    assert_eq!(world.catalog.model_versions(None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_version_predicts_the_rows_of_a_dataset_once() {
    let world = World::new().await;
    let page = world.run("train", &[]).await;
    let dataset = &outputs(&page, "data")["holdout"];
    let (holdout_rows, args) =
        (&outputs(&page, "data")["holdout_rows"], json!({ "model": "buyer", "dataset": dataset }));
    for _ in 0..2 {
        let predicted = world.job("model.predict_batch", &args).await.unwrap();
        assert_eq!((&predicted["rows"], &predicted["version"]), (holdout_rows, &json!(1)));
    }
    let head = world.lake.head().await.unwrap();
    let table = world.lake.read(&Read::all(Table::predictions("buyer"), head)).await.unwrap();
    assert_eq!(json!(table.num_rows()), *holdout_rows);
}

#[tokio::test]
async fn what_is_not_registered_is_neither_promoted_nor_scored() {
    let world = World::new().await;
    let page = world.run("score", &[]).await;
    let step = page.step_list.iter().find(|step| step.name == "evaluate").unwrap();
    assert_eq!(step.fault.as_ref().unwrap().to_string(), "[TM0802] model `buyer` has no alias `champion`");
    let args = json!({ "model": "buyer", "version": 7, "alias": "champion" });
    let fault = world.job("model.promote", &args).await.unwrap_err();
    assert_eq!(fault.to_string(), "[TM0802] model `buyer` has no version 7");
    assert!(world.catalog.model_aliases(None).await.unwrap().is_empty());
}

/// The folder says so of one of its columns.
fn fails_on_nulls(folder: &Path) {
    let file = folder.join("tidemill.json");
    let told = fs::read_to_string(&file).unwrap();
    assert!(told.contains("\"no_nulls\": []"), "{told}");
    fs::write(&file, told.replace("\"no_nulls\": []", "\"no_nulls\": [\"pages\"]")).unwrap();
}
