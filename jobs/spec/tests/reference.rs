//! The examples of a page are one project without a mistake.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{fs, path::Path};

use tidemill_spec::{PROJECT_FILE, diagnostic::render, load};

const REFERENCE: &str = include_str!("../../../docs/reference/yaml.md");
const COUNT_CLICKS: &str = include_str!("../../../docs/how-to/count-clicks.md");
const COMPUTE_FEATURES: &str = include_str!("../../../docs/how-to/compute-features.md");
const PREDICT_CHURN: &str = include_str!("../../../docs/how-to/predict-churn.md");
const YOUR_OWN_MODEL: &str = include_str!("../../../docs/how-to/your-own-model.md");

#[test]
fn the_examples_of_the_reference_are_a_right_project() {
    check(REFERENCE, 11, 16);
}

#[test]
fn the_examples_of_your_own_model_are_a_right_project() {
    check(YOUR_OWN_MODEL, 7, 8);
}

#[test]
fn the_examples_of_clicks_in_the_last_hour_are_a_right_project() {
    check(COUNT_CLICKS, 3, 4);
}

#[test]
fn the_examples_of_who_does_not_come_back_are_a_right_project() {
    check(PREDICT_CHURN, 4, 6);
}

#[test]
fn the_examples_of_roles_and_computed_features_are_a_right_project() {
    check(COMPUTE_FEATURES, 4, 9);
}

fn check(page: &str, files: usize, objects: usize) {
    let folder = tempfile::tempdir().unwrap();
    let examples: Vec<&str> = ["```yaml\n", "```python\n"]
        .iter()
        .flat_map(|fence| page.split(fence).skip(1).filter_map(|rest| rest.split_once("```")))
        .map(|(example, _)| example)
        .collect();
    for (number, example) in examples.iter().enumerate() {
        fs::write(folder.path().join(file_name(number, example)), example).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files);
    let loaded = load(folder.path()).unwrap();
    assert_eq!(render(&loaded.diagnostics, &loaded.files, false), "");
    assert_eq!(loaded.objects.definitions().len(), objects);
}

/// What the example's first line says, `# late.py`, or a name of its own.
fn file_name(number: usize, example: &str) -> String {
    let said = example.lines().next().and_then(|line| line.strip_prefix("# "));
    let said = said.map(|line| line.split_once(':').map_or(line, |(name, _)| name));
    match said {
        Some(name) if Path::new(name).extension().is_some() => name.to_owned(),
        _ if example.contains("kind: Project") => PROJECT_FILE.to_owned(),
        _ => format!("{number}.yaml"),
    }
}
