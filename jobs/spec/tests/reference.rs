//! The examples of a page are one project without a mistake.

use tidemill_spec::{
    LoadOptions, PROJECT_FILE,
    diagnostic::{SourceFile, render},
    load_files,
};

const REFERENCE: &str = include_str!("../../../docs/reference/yaml.md");
const YOUR_OWN_MODEL: &str = include_str!("../../../docs/how-to/your-own-model.md");

#[test]
fn the_examples_of_the_reference_are_a_right_project() {
    check(REFERENCE, 8, 12);
}

#[test]
fn the_examples_of_your_own_model_are_a_right_project() {
    check(YOUR_OWN_MODEL, 5, 8);
}

fn check(page: &str, blocks: usize, objects: usize) {
    let examples = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let files: Vec<SourceFile> = examples
        .enumerate()
        .map(|(number, (text, _))| SourceFile {
            path: if text.contains("kind: Project") {
                PROJECT_FILE.to_owned()
            } else {
                format!("{number}.yaml")
            },
            text: text.to_owned(),
        })
        .collect();
    assert_eq!(files.len(), blocks);
    let loaded = load_files(files, &LoadOptions::default());
    assert_eq!(render(&loaded.diagnostics, &loaded.files, false), "");
    assert_eq!(loaded.objects.definitions().len(), objects);
}
