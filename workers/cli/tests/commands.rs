//! The program as people and scripts start it, without a server: output, exit codes, where each goes.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

struct Ended {
    exit: Option<i32>,
    out: String,
    err: String,
}

fn tidemill(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    // No tree runs in the folder, and the environment names no server.
    let command = command.args(arguments).current_dir(folder).env_remove("TIDEMILL_SERVER_URL");
    let output = command.env("TIDEMILL_SERVER__LISTEN", "127.0.0.1:1").output().unwrap();
    Ended {
        exit: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_new_project_is_made_and_checked_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let made = tidemill(home.path(), &["init", "shop"]);
    assert_eq!((made.exit, made.out.as_str()), (Some(0), "project shop in shop: 5 files\n"));
    insta::assert_snapshot!(made.err);
    let shop = home.path().join("shop");
    let checked = tidemill(&shop, &["check"]);
    assert_eq!(
        (checked.exit, checked.out.as_str(), checked.err.as_str()),
        (Some(0), "", "5 objects, no mistakes\n")
    );
    assert_eq!(tidemill(home.path(), &["init", "shop"]).exit, Some(64), "what is there is not written over");
    assert_eq!(tidemill(&shop, &["apply"]).exit, Some(69), "no server");
}

#[test]
fn mistakes_are_shown_all_at_once_and_end_with_one() {
    let home = tempfile::tempdir().unwrap();
    tidemill(home.path(), &["init", "shop"]);
    let features = home.path().join("shop/features.yaml");
    let text = fs::read_to_string(&features).unwrap();
    fs::write(
        &features,
        text.replace("source: orders", "source: oders").replace("last: amount", "lst: amount"),
    )
    .unwrap();
    let checked = tidemill(home.path(), &["check", "shop"]);
    assert_eq!(checked.exit, Some(1));
    insta::assert_snapshot!(checked.err);
    let json = tidemill(home.path(), &["check", "shop", "-o", "json"]);
    let found: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.exit, found.as_array().map(Vec::len)), (Some(1), Some(3)));
    assert_eq!(found[0]["labels"][0]["file"], "features.yaml");
}

#[test]
fn every_exit_code_is_the_documented_one() {
    let home = tempfile::tempdir().unwrap();
    let exit = |arguments: &[&str]| tidemill(home.path(), arguments).exit;
    assert_eq!(exit(&["--help"]), Some(0));
    assert_eq!(exit(&["--version"]), Some(0));
    assert_eq!(exit(&["explain", "TM0412"]), Some(0));
    for wrong in [
        &["no-such-command"][..],
        &["run"],
        &["explain", "TM9999"],
        &["--timeout", "soon", "status"],
        &["--server", "localhost", "status"],
        &["retry", "run_1", "--since", "24h"],
        &["check", "nowhere"],
    ] {
        assert_eq!(exit(wrong), Some(64), "{wrong:?}");
    }
    for unreachable in
        [&["status"][..], &["runs", "list"], &["predict", "m", "--entity", "1"], &["retry", "run_1"]]
    {
        assert_eq!(exit(unreachable), Some(69), "{unreachable:?}");
    }
}

#[test]
fn failures_go_to_standard_error_in_the_form_that_was_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let people = tidemill(home.path(), &["runs", "list"]);
    assert_eq!(people.out, "");
    insta::assert_snapshot!(people.err);
    let programs = tidemill(home.path(), &["runs", "list", "-o", "json"]);
    let failure: Value = serde_json::from_str(&programs.err).unwrap();
    assert_eq!((programs.out.as_str(), &failure["error"]["code"]), ("", &Value::from("TM0102")));
    assert_eq!(failure["exit"], 69);
}

#[test]
fn a_page_of_an_error_is_read_offline_under_any_spelling() {
    let home = tempfile::tempdir().unwrap();
    let page = tidemill(home.path(), &["explain", "TM0412"]).out;
    assert!(page.starts_with("# TM0412: "));
    for spelling in ["tm0412", "0412", "412"] {
        assert_eq!(tidemill(home.path(), &["explain", spelling]).out, page);
    }
    let json: Value =
        serde_json::from_str(&tidemill(home.path(), &["explain", "412", "-o", "json"]).out).unwrap();
    assert_eq!(json["code"], "TM0412");
}
