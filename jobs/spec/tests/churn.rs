//! The second project: a stream of users, and nothing of flights.

use std::path::{Path, PathBuf};

use tidemill_spec::{ViewKind, diagnostic::render, load};

fn churn() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/churn")
}

#[test]
fn the_churn_project_has_no_mistake() {
    let loaded = load(&churn()).unwrap();
    assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics, &loaded.files, false));
    let objects = &loaded.objects;
    assert_eq!(objects.definitions().len(), 15);
    assert_eq!(objects.view_kind("recency"), Some(ViewKind::Rows));
    assert_eq!(objects.view_kind("activity"), Some(ViewKind::Windows));
    assert_eq!(objects.view_kind("conversion"), Some(ViewKind::Derived));
}

#[test]
fn everything_about_a_user_is_read_in_one_round() {
    let objects = load(&churn()).unwrap().objects;
    let hydration = objects.hydration("churn").unwrap();
    assert_eq!(hydration.rounds.len(), 1);
    let columns: Vec<&str> = hydration.columns.keys().map(String::as_str).collect();
    let (of_profile, of_windows) = (["age", "minutes_away"], ["clicks_1h", "clicks_24h", "sessions_7d"]);
    let of_purchases = ["purchases_7d", "purchases_30d", "spent_30d"];
    let computed = ["days_since_purchase", "purchases_per_session"];
    assert_eq!(columns, [&of_profile[..], &of_windows, &of_purchases, &computed].concat());
}
