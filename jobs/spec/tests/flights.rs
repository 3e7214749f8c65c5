//! The demo project is the largest right example there is.

use std::path::{Path, PathBuf};

use tidemill_spec::{KeyOrigin, LoadOptions, Objects, ViewKind, diagnostic::render, load, load_with};

fn flights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/flights")
}

#[test]
fn the_flights_project_has_no_mistake() {
    let loaded = load(&flights()).unwrap();
    assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics, &loaded.files, false));
    let objects = &loaded.objects;
    assert_eq!(objects.definitions().len(), 23);
    assert_eq!(objects.view_kind("aircraft_delay"), Some(ViewKind::Rows));
    assert_eq!(objects.view_kind("origin_load"), Some(ViewKind::Windows));
    assert_eq!(objects.view_kind("airport_stress"), Some(ViewKind::Derived));
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
