//! The program as people and scripts start it, without a server: output, exit codes, where each goes.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

struct Ended {
    exit: Option<i32>,
    out: String,
    err: String,
}

/// Asks a server that isn't there.
fn tidemill(folder: &Path, arguments: &[&str]) -> Ended {
    asking(Some("127.0.0.1:1"), folder, arguments)
}

fn asking(server: Option<&str>, folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    // No tree runs in the folder.
    let command = command.args(arguments).current_dir(folder).env_remove("TIDEMILL_SERVER_URL");
    let command = command.env_remove("TIDEMILL_SERVER__LISTEN");
    let output = command.envs(server.map(|server| ("TIDEMILL_SERVER__LISTEN", server))).output().unwrap();
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
    assert_eq!(tidemill(home.path(), &["init", "shop"]).exit, Some(64), "existing files are not overwritten");
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

#[test]
fn no_server_is_asked_that_was_not_named() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = asking(None, home.path(), &["status"]);
    assert_eq!(nowhere.exit, Some(69));
    assert!(
        nowhere.err.contains("no server is named") && nowhere.err.contains("--server"),
        "{}",
        nowhere.err
    );
    // A tree that was here and doesn't run any more, though its file names a process that there is.
    let tree = home.path().join(".tidemill");
    fs::create_dir(&tree).unwrap();
    let places = serde_json::json!({
        "database_url": "", "redis_url": "", "blobs_url": "", "server": "127.0.0.1:1", "gateway": "", "serve": "",
        "serve_http": "", "pid": std::process::id(),
    });
    fs::write(tree.join("dev.json"), places.to_string()).unwrap();
    fs::write(tree.join("lock"), "").unwrap();
    let stopped = asking(None, home.path(), &["status"]);
    assert_eq!(stopped.exit, Some(69));
    assert!(stopped.err.contains("is not running, and no other server is named"), "{}", stopped.err);
}

/// A server that refuses one request.
fn refusing() -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 1024];
        assert!(stream.read(&mut asked).unwrap() > 0);
        let body = r#"{"error": {"code": "TM0107", "message": "another project"}}"#;
        let head = "HTTP/1.1 422 Unprocessable Entity\r\nconnection: close\r\ncontent-length: ";
        write!(stream, "{head}{}\r\n\r\n{body}", body.len()).unwrap();
    });
    address
}

#[test]
fn every_refusal_names_the_server_that_refused() {
    let home = tempfile::tempdir().unwrap();
    let server = refusing();
    let people = asking(Some(&server), home.path(), &["runs", "list"]);
    assert!(people.err.contains(&format!("= server: http://{server}\n")), "{}", people.err);
    let server = refusing();
    let programs = asking(Some(&server), home.path(), &["runs", "list", "-o", "json"]);
    let failure: Value = serde_json::from_str(&programs.err).unwrap();
    assert_eq!(failure["server"], format!("http://{server}"));
}

#[test]
fn an_upload_that_nobody_takes_ends_after_its_timeout() {
    // Connections wait in its queue.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("rows.csv"), "a\n1\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--timeout", "1s", "sources", "upload", "rides", "rows.csv"])
        .current_dir(home.path())
        .env("TIDEMILL_SERVER__LISTEN", "127.0.0.1:1")
        .env("TIDEMILL_GATEWAY__LISTEN", silent.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("did not take the file in time") && said.contains("repeat the command"), "{said}");
}

#[test]
fn a_result_has_the_format_of_its_ending_and_writes_over_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (labels, there) = ("customer_id,label_ts\n1,2024-05-01\n", "mine");
    fs::write(home.path().join("l.csv"), labels).unwrap();
    fs::write(home.path().join("there.csv"), there).unwrap();
    let build = |out: &str, force: &[&str]| {
        let arguments = ["datasets", "build", "--labels", "l.csv", "--inputs", "v", "--out", out];
        tidemill(home.path(), &[&arguments[..], force].concat())
    };
    for (out, force, code) in [
        ("l.csv", &[][..], "TM0101"),
        ("l.csv", &["--force"], "TM0101"),
        ("./l.csv", &["--force"], "TM0101"),
        ("there.csv", &[], "TM0188"),
        ("o.xlsx", &[], "TM0608"),
        ("o", &[], "TM0608"),
    ] {
        let ended = build(out, force);
        assert!(ended.exit == Some(64) && ended.err.contains(code), "{out} {force:?}: {}", ended.err);
    }
    // What may be written is asked of the server.
    assert_eq!((build("o.csv", &[]).exit, build("there.csv", &["--force"]).exit), (Some(69), Some(69)));
    let page = |force: &[&str]| {
        let arguments = ["monitors", "compare", "l.csv", "l.csv", "--html", "page.html"];
        tidemill(home.path(), &[&arguments[..], force].concat())
    };
    let written = page(&[]);
    assert_eq!(written.exit, Some(0), "{}", written.err);
    assert_eq!((page(&[]).exit, page(&["--force"]).exit), (Some(64), Some(0)));
    let kept = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
    assert_eq!((kept("l.csv"), kept("there.csv")), (labels.to_owned(), there.to_owned()));
}

#[test]
fn a_project_with_pipes_and_links_out_is_refused_at_once() {
    let home = tempfile::tempdir().unwrap();
    tidemill(home.path(), &["init", "shop"]);
    let shop = home.path().join("shop");
    std::os::unix::fs::symlink("/dev/zero", shop.join("zero.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(shop.join("pipe.py")).status().unwrap().success());
    for command in ["check", "apply"] {
        let ended = tidemill(&shop, &[command]);
        assert_eq!(ended.exit, Some(1), "{}", ended.err);
        assert!(
            ended.err.contains("`zero.yaml` is a link to a file outside the project, /dev/zero"),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("`pipe.py` is not a regular file"), "{}", ended.err);
    }
    assert_eq!(
        tidemill(&shop, &["sources", "upload", "orders", "pipe.py", "--format", "csv"]).exit,
        Some(64)
    );
}
