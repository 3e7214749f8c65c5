//! The demo project is the largest right example there is.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tidemill_spec::{
    KeyOrigin, LoadOptions, Objects, ViewKind,
    diagnostic::{SourceFile, render},
    load, load_files, load_with,
};

fn flights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/flights")
}

#[test]
fn the_flights_project_has_no_mistake() {
    let loaded = load(&flights()).unwrap();
    assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics, &loaded.files, false));
    let objects = &loaded.objects;
    assert_eq!(objects.definitions().len(), 25);
    assert_eq!(objects.view_kind("aircraft_delay"), Some(ViewKind::Rows));
    assert_eq!(objects.view_kind("origin_load"), Some(ViewKind::Windows));
    assert_eq!(objects.view_kind("airport_stress"), Some(ViewKind::Derived));
    assert_eq!(objects.view_kind("airport_chill"), Some(ViewKind::Snapshots));
}

#[test]
fn the_aircraft_is_found_by_what_the_schedule_says() {
    let objects = load(&flights()).unwrap().objects;
    let hydration = objects.hydration("late_flight").unwrap();
    let views =
        |round: usize| hydration.rounds[round].iter().map(|read| read.view.as_str()).collect::<Vec<_>>();
    assert_eq!(views(0), ["flight_schedule", "origin_load", "weather_now"]);
    assert_eq!(views(1), ["aircraft_delay", "route_week"]);
    let tailnum = KeyOrigin::Feature { view: "flight_schedule".into(), feature: "tailnum".into() };
    assert_eq!(hydration.rounds[1][0].keys, [tailnum]);
    assert_eq!(hydration.columns.len(), 14);
}

#[test]
fn objects_come_back_from_their_definitions_unchanged() {
    let objects = load(&flights()).unwrap().objects;
    let definitions = objects.definitions();
    let back = Objects::from_definitions(definitions.clone()).unwrap();
    assert_eq!(back, objects);
    assert_eq!(back.definitions(), definitions);
}

#[test]
fn the_leak_is_rejected_unless_it_is_allowed() {
    let with = |allow_leaks| LoadOptions { overlays: vec!["leak".into()], allow_leaks };
    let rejected = load_with(&flights(), &with(false)).unwrap();
    insta::assert_snapshot!(render(&rejected.diagnostics, &rejected.files, false));
    assert!(rejected.failed());

    let allowed = load_with(&flights(), &with(true)).unwrap();
    assert!(!allowed.failed(), "{}", render(&allowed.diagnostics, &allowed.files, false));
    assert_eq!(allowed.diagnostics.len(), 3, "leaks that are allowed are still said");
    let views = ["aircraft_delay_leak".to_owned(), "weather_now".to_owned()];
    assert_eq!(allowed.objects.leaks(&views), ["aircraft_delay_leak"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a slip of the editor does to the files, there are answers, and every place in them exists.
    #[test]
    fn a_damaged_project_is_told_what_is_wrong_without_a_panic(
        file in 0_usize..32, at in 0_usize..4_000, cut in 0_usize..40, put in "[-:{}\\[\\]\"'#|> \\n\t$a1é]{0,6}",
    ) {
        let mut files = load(&flights()).unwrap().files;
        let count = files.len();
        let damaged = &mut files[file % count];
        let mut text: Vec<char> = damaged.text.chars().collect();
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        text.splice(start..end, put.chars());
        damaged.text = text.into_iter().collect();
        let loaded = load_files(files, &LoadOptions::default());
        let shown = render(&loaded.diagnostics, &loaded.files, false);
        prop_assert!(shown.is_empty() == loaded.diagnostics.is_empty());
        for place in loaded.diagnostics.iter().flat_map(|found| &found.labels) {
            let file = loaded.files.iter().find(|SourceFile { path, .. }| *path == place.file).unwrap();
            prop_assert!(place.line <= file.text.lines().count() + 1, "{place:?}");
        }
    }
}
