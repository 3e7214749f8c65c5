//! The examples of the YAML reference are one project without a mistake.

use tidemill_spec::{
    LoadOptions, PROJECT_FILE,
    diagnostic::{SourceFile, render},
    load_files,
};

const REFERENCE: &str = include_str!("../../../docs/reference/yaml.md");

#[test]
fn its_examples_are_a_right_project() {
    let examples = REFERENCE.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
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
    assert_eq!(files.len(), 8);
    let loaded = load_files(files, &LoadOptions::default());
    assert_eq!(render(&loaded.diagnostics, &loaded.files, false), "");
    assert_eq!(loaded.objects.definitions().len(), 12);
}
