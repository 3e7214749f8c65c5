//! Every mistake a project can hold, each shown as people see it: `mistakes/*.yaml` are loaded one by one beside
//! the right project in `base`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its cases fails")]

use std::{collections::BTreeSet, fs, path::Path};

use tidemill_spec::{
    Diagnostic, LoadOptions, Loaded,
    diagnostic::{SourceFile, render},
    load, load_files,
};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn base() -> Vec<SourceFile> {
    ["tidemill.yaml", "objects.yaml", "shop/churn.py"]
        .map(|path| SourceFile {
            path: path.into(),
            text: fs::read_to_string(folder("base").join(path)).unwrap(),
        })
        .into()
}

fn with(text: &str) -> Loaded {
    let case = SourceFile { path: "case.yaml".into(), text: text.into() };
    load_files(base().into_iter().chain([case]).collect(), &LoadOptions::default())
}

fn shown(loaded: &Loaded) -> String {
    render(&loaded.diagnostics, &loaded.files, false)
}

fn cases() -> Vec<(String, String)> {
    let mut cases: Vec<_> = fs::read_dir(folder("mistakes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn the_base_has_no_mistake() {
    assert_eq!(shown(&load_files(base(), &LoadOptions::default())), "");
}

#[test]
fn every_mistake_is_shown_with_its_place_and_its_remedy() {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        for (name, text) in cases() {
            insta::assert_snapshot!(name, shown(&with(&text)));
        }
    });
}

#[test]
fn a_case_shows_the_code_that_it_is_named_after() {
    for (name, text) in cases() {
        let codes: BTreeSet<String> =
            with(&text).diagnostics.iter().map(|found| found.code.to_string()).collect();
        let expected = name.split('_').next().unwrap().to_uppercase();
        assert!(!expected.starts_with("TM") || codes.contains(&expected), "{name}: {codes:?}");
    }
}

#[test]
fn every_code_has_a_page_and_every_page_its_case() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let shown: BTreeSet<String> = cases()
        .iter()
        .flat_map(|(_, text)| with(text).diagnostics)
        .map(|found| found.code.to_string())
        .collect();
    for code in &shown {
        assert!(pages.join(format!("{code}.md")).exists(), "docs/errors/{code}.md is missing");
    }
    // These need another set of files than one beside the base, DuckDB, or rows; they have tests of their own.
    let elsewhere = ["TM0213", "TM0214", "TM0413", "TM0414", "TM0475", "TM0481"];
    for page in fs::read_dir(pages).unwrap() {
        let code = page.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        // Pages from 0320 to 0399 are of pipelines that run; this crate finds what is wrong before anything does.
        let ours = ["TM02", "TM030", "TM031", "TM04"].iter().any(|group| code.starts_with(group));
        assert!(!ours || shown.contains(&code) || elsewhere.contains(&code.as_str()), "no case shows {code}");
    }
}

#[test]
fn seven_mistakes_are_found_in_one_go() {
    let (_, text) = cases().into_iter().find(|(name, _)| name == "seven_mistakes_in_one_go").unwrap();
    assert!(with(&text).diagnostics.len() >= 7);
}

#[test]
fn a_folder_without_a_project_says_so() {
    let empty = tempfile::tempdir().unwrap();
    let loaded = load(empty.path()).unwrap();
    insta::assert_snapshot!(shown(&loaded));
}

#[test]
fn an_overlay_must_be_declared() {
    let options = LoadOptions { overlays: vec!["more".into()], allow_leaks: false };
    insta::assert_snapshot!(shown(&load_files(base(), &options)));
}

#[test]
fn files_that_are_not_text_or_too_large_are_named() {
    let project = tempfile::tempdir().unwrap();
    fs::copy(folder("base/tidemill.yaml"), project.path().join("tidemill.yaml")).unwrap();
    fs::write(project.path().join("binary.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    fs::write(project.path().join("large.yaml"), "# \n".repeat(400_000)).unwrap();
    insta::assert_snapshot!(shown(&load(project.path()).unwrap()));
}

#[test]
fn colours_are_only_there_when_asked_for() {
    let loaded = with("kind: Entity\n");
    assert!(render(&loaded.diagnostics, &loaded.files, true).contains("\x1b["));
    assert!(!shown(&loaded).contains("\x1b["));
}

#[test]
fn diagnostics_travel_as_json() {
    let loaded = with("apiVersion: tidemill/v1\nkind: Entity\nname: item\nkys: { id: int }\n");
    let json = serde_json::to_value(&loaded.diagnostics).unwrap();
    insta::assert_json_snapshot!(json);
    assert_eq!(serde_json::from_value::<Vec<Diagnostic>>(json).unwrap(), loaded.diagnostics);
}
