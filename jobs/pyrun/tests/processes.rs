//! Pools against real Python processes.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{ArrayRef, AsArray as _, Float64Array, RecordBatch},
    datatypes::{Float64Type, Schema},
};
use indexmap::IndexMap;
use serde_json::{Map, json};
use tidemill_core::{Fault, JobError};
use tidemill_pyrun::{
    Mode, Printed, Process, PyError, PyOptions, PyPool, StepCall, StepEvent, StepSink, Transform, Transformed,
};
use tidemill_rows::{Row, batch_of, field, rows_of};
use tidemill_spec::{Type, Value};

fn options() -> PyOptions {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = || std::env::home_dir().unwrap().join(".cache/tidemill/venv/bin/python");
    PyOptions {
        python: std::env::var_os("TIDEMILL_PYTHON").map_or_else(venv, PathBuf::from),
        package: Some(here.join("../../workers/python/src").canonicalize().unwrap()),
        code: Some(here.join("tests/code")),
        ..PyOptions::default()
    }
}

fn numbers(values: Vec<Option<f64>>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", Arc::new(Float64Array::from(values)) as ArrayRef, true)])
        .unwrap()
}

fn ys(rows: &RecordBatch) -> Vec<Option<f64>> {
    rows.column_by_name("y").unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn transform(entry: &str, mode: Mode) -> Transform {
    Transform {
        entry: entry.to_owned(),
        mode,
        out: [("y".to_owned(), Type::Float)].into(),
        call_limit: Duration::from_secs(10),
        patience: Duration::from_mins(1),
    }
}

async fn run(pool: &PyPool, entry: &str, mode: Mode, rows: &RecordBatch) -> Result<Transformed, PyError> {
    pool.transform(&transform(entry, mode), rows, &mut Printed::default()).await
}

/// Which rows failed, and with which codes.
fn failed(result: &Transformed) -> Vec<(usize, u16)> {
    result.failures.iter().map(|(row, fault)| (*row, fault.code.unwrap().0)).collect()
}

fn call(entry: &str, out: &Path) -> StepCall {
    StepCall {
        entry: format!("functions:{entry}"),
        params: Map::from_iter([("from".to_owned(), json!(6))]),
        dataset: None,
        out: out.to_owned(),
        checkpoint: Some(json!({"tree": 6})),
        cpus: None,
        memory_bytes: Some(256 << 20),
        time_limit: None,
    }
}

#[derive(Default)]
struct Heard(Vec<StepEvent>);

impl StepSink for Heard {
    async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
        self.0.push(event);
        Ok(())
    }
}

impl Heard {
    fn lines(&self) -> Vec<&str> {
        fn line(event: &StepEvent) -> Option<&str> {
            if let StepEvent::Log(line) = event { Some(line) } else { None }
        }
        self.0.iter().filter_map(line).collect()
    }
}

#[tokio::test]
async fn rows_keep_order_and_nulls_across_requests_and_nan_is_null() {
    let pool = PyPool::start(options());
    let values: Vec<_> = (0..20_000).map(|n| if n % 7 == 0 { None } else { Some(f64::from(n)) }).collect();
    let result = run(&pool, "functions:double", Mode::Row, &numbers(values.clone())).await.unwrap();
    assert_eq!(ys(&result.rows), values.iter().map(|x| x.map(|x| x * 2.0)).collect::<Vec<_>>());
    let nan = run(&pool, "functions:double", Mode::Row, &numbers(vec![Some(f64::NAN)])).await.unwrap();
    assert_eq!((failed(&nan), ys(&nan.rows)), (vec![], vec![None]));
    let none = run(&pool, "functions:double", Mode::Row, &numbers(vec![])).await.unwrap();
    assert_eq!((none.rows.num_rows(), none.rows.num_columns()), (0, 1));
}

#[tokio::test]
async fn a_row_that_raises_fails_alone_in_both_modes() {
    let pool = PyPool::start(options());
    let rows = numbers(vec![Some(1.0), Some(3.0), Some(5.0)]);
    for (entry, mode) in [("functions:picky", Mode::Row), ("functions:picky_batch", Mode::Batch)] {
        let result = run(&pool, entry, mode, &rows).await.unwrap();
        assert_eq!(ys(&result.rows), [Some(1.0), None, Some(5.0)]);
        let [(1, fault)] = &result.failures[..] else { panic!("{:?}", result.failures) };
        assert!(fault.to_string().starts_with("[TM0701] ValueError: no threes at functions.py:"), "{fault}");
        assert!(!fault.detail.as_ref().unwrap().contains("worker.py"), "{fault:?}");
    }
}

#[tokio::test]
async fn decimals_and_lists_go_through_python_as_they_are() {
    let pool = PyPool::start(options());
    let types = [("p", "decimal(38,9)"), ("e", "float[2]"), ("w", "string[]"), ("n", "int[]")];
    let out: IndexMap<String, Type> =
        types.map(|(name, ty)| (name.to_owned(), ty.parse().unwrap())).into_iter().collect();
    let row = |values: [&str; 4]| -> Row {
        let typed = out.iter().zip(values).map(|((name, ty), text)| {
            (name.clone(), if text.is_empty() { Value::Null } else { Value::parse(text, *ty).unwrap() })
        });
        typed.collect()
    };
    let rows = [
        row([
            "99999999999999999999999999999.999999999",
            "[0.1, -0.0]",
            r#"["a,", ""]"#,
            "[9223372036854775807]",
        ]),
        row(["", "[0.1, 2]", "[]", "[]"]),
        row(["-0.000000001", "", "", ""]),
    ];
    let fields: Vec<_> = out.iter().map(|(name, ty)| field(name, *ty)).collect();
    let batch = batch_of(&Arc::new(Schema::new(fields)), &rows).unwrap();
    for (entry, mode) in [("functions:typed", Mode::Row), ("functions:typed_batch", Mode::Batch)] {
        let transform = Transform { out: out.clone(), ..transform(entry, mode) };
        let result = pool.transform(&transform, &batch, &mut Printed::default()).await.unwrap();
        assert_eq!(result.rows.schema(), batch.schema());
        let refused = row(["", "", "", ""]);
        let back = rows_of(&result.rows).unwrap();
        assert_eq!(back, [rows[0].clone(), refused, rows[2].clone()], "{entry}");
        assert_eq!(result.failures.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1]);
    }
}

#[tokio::test]
async fn a_missing_entry_is_told() {
    let pool = PyPool::start(options());
    let rows = numbers(vec![Some(1.0)]);
    for (entry, message) in [
        ("functions:none", "cannot load `functions:none`: module `functions` has no function `none`"),
        ("nowhere:f", "cannot load `nowhere:f`: ModuleNotFoundError: No module named 'nowhere'"),
    ] {
        let error = run(&pool, entry, Mode::Row, &rows).await.unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
        assert!(matches!(JobError::from(error), JobError::Discard(_)));
    }
}

#[tokio::test]
async fn a_row_that_kills_its_process_fails_alone() {
    let pool = PyPool::start(options());
    let rows = numbers(vec![Some(1.0), Some(3.0), Some(5.0)]);
    for (entry, mode) in [("functions:crash_on_three", Mode::Row), ("functions:crash_batch", Mode::Batch)] {
        let result = run(&pool, entry, mode, &rows).await.unwrap();
        assert_eq!(ys(&result.rows), [Some(2.0), None, Some(10.0)]);
        assert_eq!(failed(&result), [(1, 704)]);
        let message = result.failures[0].1.to_string();
        assert_eq!(message, "[TM0704] the Python process ended: signal 11 segmentation fault");
    }
}

#[tokio::test]
async fn a_row_that_hangs_fails_alone_at_the_limit_of_its_call() {
    let pool = PyPool::start(options());
    let rows = numbers((0..40).map(|n| Some(f64::from(n))).collect());
    for (entry, mode) in [("functions:hang_on_three", Mode::Row), ("functions:hang_batch", Mode::Batch)] {
        let call_limit = Duration::from_secs(1);
        let transform = Transform { call_limit, ..transform(entry, mode) };
        let result = pool.transform(&transform, &rows, &mut Printed::default()).await.unwrap();
        assert_eq!(failed(&result), [(3, 703)], "{entry}");
        let expected = (0..40).map(|n| (n != 3).then_some(f64::from(n) * 2.0));
        assert_eq!(ys(&result.rows), expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_function_that_hangs_for_every_row_fails_as_a_whole_and_for_good() {
    let pool = PyPool::start(options());
    let limits = (Duration::from_millis(200), Duration::from_millis(500));
    for entry in ["functions:hang", "functions:hang_batch"] {
        let mode = if entry.ends_with("batch") { Mode::Batch } else { Mode::Row };
        let transform = Transform { call_limit: limits.0, patience: limits.1, ..transform(entry, mode) };
        let rows = numbers(vec![Some(3.0); 20]);
        let error = pool.transform(&transform, &rows, &mut Printed::default()).await.unwrap_err();
        let PyError::GaveUp { rows, source } = &error else { panic!("{error}") };
        assert!(!rows.is_empty() && rows.end <= 20 && matches!(**source, PyError::Time { .. }), "{error:?}");
        assert_eq!(error.fault().code.unwrap().0, 703);
        assert!(matches!(JobError::from(error), JobError::Discard(_)));
    }
}

#[tokio::test]
async fn a_limit_is_for_one_call_not_for_all_rows() {
    let pool = PyPool::start(options());
    let rows = numbers(vec![Some(1.0); 30]);
    let transform =
        Transform { call_limit: Duration::from_secs(1), ..transform("functions:slow", Mode::Row) };
    let result = pool.transform(&transform, &rows, &mut Printed::default()).await.unwrap();
    assert_eq!(failed(&result), []);
}

#[tokio::test]
async fn a_module_that_never_loads_ends_the_transform_for_good() {
    let pool = PyPool::start(PyOptions { time_limit: Duration::from_millis(300), ..options() });
    let error = run(&pool, "never_loads:f", Mode::Row, &numbers(vec![Some(1.0)])).await.unwrap_err();
    assert!(
        matches!(&error, PyError::GaveUp { source, .. } if matches!(**source, PyError::Time { .. })),
        "{error}"
    );
    assert!(matches!(JobError::from(error), JobError::Discard(_)));
}

#[tokio::test]
async fn what_a_transform_prints_is_kept() {
    let pool = PyPool::start(options());
    let mut printed = Printed::default();
    let rows = numbers(vec![Some(1.0), Some(3.0)]);
    pool.transform(&transform("functions:talkative", Mode::Row), &rows, &mut printed).await.unwrap();
    assert_eq!(printed.take(), ["got 1.0", "got 3.0", "the end"]);
}

#[tokio::test]
async fn one_that_hangs_holds_up_no_other() {
    let pool = PyPool::start(options());
    let rows = numbers(vec![Some(1.0)]);
    tokio::select! {
        biased;
        result = run(&pool, "functions:hang", Mode::Row, &rows) => panic!("{result:?}"),
        result = run(&pool, "functions:double", Mode::Row, &rows) => {
            assert_eq!(ys(&result.unwrap().rows), [Some(2.0)]);
        }
    }
}

#[tokio::test]
async fn a_row_that_eats_memory_fails_alone() {
    let pool = PyPool::start(PyOptions { memory_bytes: 256 << 20, ..options() });
    let rows = numbers(vec![Some(1.0), Some(3.0), Some(5.0)]);
    for (entry, mode) in [("functions:eat_on_three", Mode::Row), ("functions:eat_batch", Mode::Batch)] {
        let result = run(&pool, entry, mode, &rows).await.unwrap();
        assert_eq!(failed(&result), [(1, 702)]);
        let detail = result.failures[0].1.detail.as_ref().unwrap();
        assert!(detail.contains("in eat_on_three"), "{detail}");
    }
}

#[tokio::test]
async fn a_step_has_as_many_threads_as_it_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (cpus, threads) in [(None, "1"), (Some(3), "3")] {
        let call = StepCall { cpus, ..call("threads", folder.path()) };
        let result = PyPool::start(options()).run_step(call, &mut Heard::default()).await.unwrap();
        assert_eq!(result.outputs, json!({ "threads": threads }));
    }
}

#[tokio::test]
async fn what_eats_memory_is_stopped_at_once_or_slowly() {
    let pool = PyPool::start(options());
    let out = tempfile::tempdir().unwrap();
    for (entry, traced) in [("eat_at_once", true), ("eat_slowly", false)] {
        let error = pool.run_step(call(entry, out.path()), &mut Heard::default()).await.unwrap_err();
        let PyError::Memory { traceback, limit_bytes } = &error else { panic!("{entry}: {error}") };
        assert_eq!((traceback.contains("in eat_at_once"), *limit_bytes), (traced, 256 << 20), "{traceback}");
    }
}

#[tokio::test]
async fn a_step_speaks_in_order_and_leaves_what_it_made() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let result = PyPool::start(options()).run_step(call("step", out.path()), &mut heard).await.unwrap();
    assert_eq!(result.outputs, json!({"trees": 10}));
    assert_eq!(result.params["trees"], 10);
    assert_eq!(result.metrics["auc"], 0.75);
    assert_eq!(result.artifact.as_deref(), Some(out.path()));
    let spoken: Vec<_> =
        heard.0.iter().filter(|event| **event != StepEvent::Log("from a child".into())).collect();
    assert_eq!(spoken[0], &StepEvent::Log("one".into()));
    assert_eq!(spoken[1], &StepEvent::Log("two".into()));
    assert_eq!(spoken[3], &StepEvent::Checkpoint(json!({"tree": 7, "seen": {"tree": 6}})));
    assert!(heard.lines().contains(&"from a child"), "{heard:?}", heard = heard.0);
}

#[tokio::test]
async fn a_step_that_raises_leaves_its_traceback_in_the_log() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let error =
        PyPool::start(options()).run_step(call("failing_step", out.path()), &mut heard).await.unwrap_err();
    assert!(error.to_string().starts_with("KeyError: 'tailnum' at functions.py:"), "{error}");
    assert_eq!(heard.lines()[0], "before");
    assert_eq!(heard.lines().last(), Some(&"KeyError: 'tailnum'"));
    assert!(!heard.lines().iter().any(|line| line.contains("tidemill")), "{:?}", heard.lines());
}

#[tokio::test]
async fn standard_output_is_a_real_file() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let call = call("writes_to_its_streams", out.path());
    PyPool::start(options()).run_step(call, &mut heard).await.unwrap();
    let expected = [
        "from subprocess",
        "bytes \u{fffd}",
        "to stderr",
        "half a character \\ud800",
        "utf-8 1 2",
        "past Python",
    ];
    assert_eq!(heard.lines(), expected);
}

#[tokio::test]
async fn the_last_words_of_a_process_that_dies_are_heard_and_told() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let call = call("dies_with_a_trace", out.path());
    let error = PyPool::start(options()).run_step(call, &mut heard).await.unwrap_err();
    let PyError::Died { output, .. } = &error else { panic!("{error}") };
    assert!(output.contains("before") && output.contains("in dies_with_a_trace"), "{output}");
    assert!(heard.lines().iter().any(|line| line.contains("in dies_with_a_trace")), "{:?}", heard.lines());
}

#[tokio::test]
async fn a_progress_bar_is_one_line_and_the_traceback_follows_it() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let call = call("progress_then_raise", out.path());
    let error = PyPool::start(options()).run_step(call, &mut heard).await.unwrap_err();
    assert!(error.to_string().starts_with("ValueError: after all that"), "{error}");
    let lines = heard.lines();
    assert_eq!(lines[0], format!("200000 of 200000 [{}]", "#".repeat(20)));
    assert!(lines[1].contains("functions.py"), "{lines:?}");
    assert_eq!(lines.last(), Some(&"ValueError: after all that"));
    assert!(lines.len() < 6, "{lines:?}");
}

#[tokio::test]
async fn what_json_cannot_hold_costs_no_work_and_is_told() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let call = call("gives_what_json_cannot_hold", out.path());
    let result = PyPool::start(options()).run_step(call, &mut heard).await.unwrap();
    let outputs = json!({ "auc": null, "name\u{fffd}": "d\u{fffd}", "rows": "1180591620717411303424" });
    assert_eq!(result.outputs, outputs);
    assert_eq!(serde_json::Value::from(result.params), json!({ "text": "a\u{fffd}b", "limit": null }));
    assert_eq!(serde_json::Value::from(result.metrics), json!({ "loss": null }));
    assert!(heard.0.contains(&StepEvent::Checkpoint(json!({ "best": null, "name": "c\u{fffd}" }))));
    let warned = heard.lines().iter().filter(|line| line.starts_with("warning: ")).count();
    assert_eq!(warned, 9, "{:?}", heard.lines());
    assert!(heard.lines().contains(&"warning: outputs.auc is not a finite number (nan); kept as null"));
}

#[tokio::test]
async fn what_user_code_raises_is_text_whatever_it_says() {
    let out = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let pool = PyPool::start(options());
    let error = pool.run_step(call("raises_nul", out.path()), &mut heard).await.unwrap_err();
    assert!(error.to_string().starts_with("ValueError: a\u{fffd}b \u{fffd} at functions.py:"), "{error}");
    let error = pool.run_step(call("returns_too_much", out.path()), &mut heard).await.unwrap_err();
    assert_eq!(error.to_string(), "returned more than 16 MiB of JSON; write it to a file in `out`");
    assert!(matches!(JobError::from(error), JobError::Discard(_)), "it would be the same again");
}

#[tokio::test]
async fn what_has_no_place_in_json_costs_no_training_and_is_told() {
    let out = tempfile::tempdir().unwrap();
    let (pool, mut heard) = (PyPool::start(options()), Heard::default());
    let result = pool.run_step(call("returns_objects", out.path()), &mut heard).await.unwrap();
    let outputs =
        json!({ "auc": 0.5, "day": "2013-06-01", "seen": ["AA", "UA"], "(1, AA)": 2, "model": "Ellipsis" });
    assert_eq!(result.outputs, outputs);
    let result = pool.run_step(call("returns_a_list", out.path()), &mut heard).await.unwrap();
    assert_eq!(result.outputs, json!({ "result": [0.5, 0.75] }));
    let expected = [
        "warning: outputs.model is a ellipsis; kept as text",
        "warning: the function returned a list, not a dict; kept as outputs.result",
    ];
    assert_eq!(heard.lines(), expected);
}

#[tokio::test]
async fn what_raises_as_a_closed_channel_would_is_told_as_anything_else() {
    let out = tempfile::tempdir().unwrap();
    let pool = PyPool::start(options());
    for (entry, message) in [
        ("reads_a_cut_pickle", "EOFError: Ran out of input at functions.py:"),
        ("writes_to_a_closed_pipe", "BrokenPipeError: [Errno 32] Broken pipe at functions.py:"),
    ] {
        let error = pool.run_step(call(entry, out.path()), &mut Heard::default()).await.unwrap_err();
        let PyError::Raised { traceback, .. } = &error else { panic!("{error:?}") };
        assert!(traceback.contains(&format!("in {entry}")), "{traceback}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[tokio::test]
async fn a_forked_child_never_answers_in_its_parents_place() {
    let out = tempfile::tempdir().unwrap();
    let (pool, mut heard) = (PyPool::start(options()), Heard::default());
    let result = pool.run_step(call("forks", out.path()), &mut heard).await.unwrap();
    assert_eq!(result.outputs, json!({ "who": "parent" }));
    assert_eq!(heard.lines().last(), Some(&"ValueError: in the child"));
    let rows = numbers(vec![Some(1.0), Some(3.0), Some(5.0)]);
    let result = run(&pool, "functions:forks_for_each_row", Mode::Row, &rows).await.unwrap();
    assert_eq!((failed(&result), ys(&result.rows)), (vec![], vec![Some(2.0), Some(6.0), Some(10.0)]));
}

#[tokio::test]
async fn a_listener_that_refuses_ends_the_step() {
    struct Fenced;
    impl StepSink for Fenced {
        async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
            match event {
                StepEvent::Checkpoint(_) => Err(JobError::Retry(Fault::new("the lease is lost"))),
                _ => Ok(()),
            }
        }
    }
    let out = tempfile::tempdir().unwrap();
    let error = PyPool::start(options()).run_step(call("step", out.path()), &mut Fenced).await.unwrap_err();
    assert!(matches!(error, PyError::Stopped(JobError::Retry(_))), "{error}");
}

#[tokio::test]
async fn dropping_a_step_kills_its_whole_group() {
    struct Told(tokio::sync::mpsc::UnboundedSender<String>);
    impl StepSink for Told {
        async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
            if let StepEvent::Log(line) = event {
                self.0.send(line).unwrap();
            }
            Ok(())
        }
    }
    let out = tempfile::tempdir().unwrap();
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let (pool, mut told) = (PyPool::start(options()), Told(sender));
    let line = tokio::select! {
        line = lines.recv() => line.unwrap(),
        result = pool.run_step(call("with_a_child", out.path()), &mut told) => panic!("{result:?}"),
    };
    for id in line.split(' ') {
        gone(id).await;
    }
}

#[tokio::test]
async fn what_left_its_session_ends_with_its_step() {
    let out = tempfile::tempdir().unwrap();
    let call = call("leaves_a_daemon", out.path());
    let result = PyPool::start(options()).run_step(call, &mut Heard::default()).await.unwrap();
    gone(result.outputs["pid"].as_str().unwrap()).await;
}

#[tokio::test]
async fn what_lost_its_parent_ends_with_its_request_and_the_process_stays() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let env = [("TOLD".to_owned(), told.to_str().unwrap().to_owned())].into();
    let pool = PyPool::start(PyOptions { env, ..options() });
    let rows = numbers(vec![Some(1.0)]);
    for _ in 0..2 {
        let result = run(&pool, "functions:leaves_a_daemon_for_each_row", Mode::Row, &rows).await.unwrap();
        assert_eq!(failed(&result), []);
        gone(&std::fs::read_to_string(&told).unwrap()).await;
    }
}

#[tokio::test]
async fn nothing_is_gained_by_stopping_or_killing_the_guard() {
    for signal in ["SIGSTOP", "SIGKILL"] {
        let out = tempfile::tempdir().unwrap();
        let mut call = call("against_its_guard", out.path());
        call.params.insert("signal".to_owned(), json!(signal));
        call.time_limit = Some(Duration::from_secs(3));
        let mut heard = Heard::default();
        let error = PyPool::start(options()).run_step(call, &mut heard).await.unwrap_err();
        assert!(matches!(error, PyError::Time { .. } | PyError::Died { .. }), "{error}");
        for id in heard.lines()[0].split(' ') {
            gone(id).await;
        }
    }
}

#[tokio::test]
async fn settings_of_a_process_that_hides_them_can_not_be_read_by_user_code() {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut call = call("reads_the_settings", out.path());
    call.params.insert("pid".to_owned(), json!(std::process::id()));
    let result = PyPool::start(options()).run_step(call, &mut Heard::default()).await.unwrap();
    let refused = json!({"environ": "PermissionError", "maps": "PermissionError", "mem": "PermissionError"});
    assert_eq!(result.outputs, refused);
}

#[tokio::test]
async fn what_children_use_counts_together() {
    for (children, bytes_each) in [(1, 400 << 20), (8, 50 << 20)] {
        let out = tempfile::tempdir().unwrap();
        let mut call = call("children_that_eat", out.path());
        call.params.insert("children".to_owned(), json!(children));
        call.params.insert("bytes_each".to_owned(), json!(bytes_each));
        let error = PyPool::start(options()).run_step(call, &mut Heard::default()).await.unwrap_err();
        assert!(matches!(error, PyError::Memory { .. }), "{children}: {error}");
    }
}

#[tokio::test]
async fn what_children_share_counts_once() {
    let out = tempfile::tempdir().unwrap();
    let call = call("children_that_share", out.path());
    let result = PyPool::start(options()).run_step(call, &mut Heard::default()).await.unwrap();
    assert_eq!(result.outputs["held"], 100 << 20);
}

#[tokio::test]
async fn a_row_whose_process_was_killed_once_is_asked_about_again() {
    for rows in [vec![Some(3.0)], vec![Some(1.0), Some(3.0)]] {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told").to_str().unwrap().to_owned();
        let pool = PyPool::start(PyOptions { env: [("TOLD".to_owned(), told)].into(), ..options() });
        let result = run(&pool, "functions:killed_once", Mode::Row, &numbers(rows.clone())).await.unwrap();
        assert_eq!(failed(&result), []);
        assert_eq!(ys(&result.rows), rows.iter().map(|x| x.map(|x| x * 2.0)).collect::<Vec<_>>());
    }
}

/// A project whose files have names of Python's own modules.
fn project_with_taken_names() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["calendar", "queue", "random", "test", "tidemill", "types"] {
        std::fs::write(folder.path().join(format!("{name}.py")), "raise RuntimeError('not this one')")
            .unwrap();
    }
    let function = "import random\n\ndef f(row):\n    return {'y': float(random.Random(1).random() < 1)}\n";
    std::fs::write(folder.path().join("mine.py"), function).unwrap();
    folder
}

#[tokio::test]
async fn a_project_does_not_replace_modules_of_python_or_ours() {
    let project = project_with_taken_names();
    let pool = PyPool::start(PyOptions { code: Some(project.path().to_owned()), ..options() });
    let rows = numbers(vec![Some(1.0)]);
    let result = run(&pool, "mine:f", Mode::Row, &rows).await.unwrap();
    assert_eq!((failed(&result), ys(&result.rows)), (vec![], vec![Some(1.0)]));
    for (name, whose) in
        [("random", "Python"), ("test", "Python"), ("code", "Python"), ("tidemill", "Tidemill")]
    {
        let error = run(&pool, &format!("{name}:f"), Mode::Row, &rows).await.unwrap_err().to_string();
        let expected =
            format!("cannot load `{name}:f`: module `{name}` is {whose}'s own; rename the project's file");
        assert_eq!(error, expected);
    }
}

/// Run by the test below in a process of its own, in another folder.
#[tokio::test]
#[ignore = "needs a folder of its own"]
async fn a_transform_where_it_runs() {
    let result =
        run(&PyPool::start(options()), "functions:double", Mode::Row, &numbers(vec![Some(1.0)])).await;
    assert_eq!(ys(&result.unwrap().rows), [Some(2.0)]);
}

#[tokio::test]
async fn what_lies_in_the_folder_that_we_run_in_is_no_module() {
    let project = project_with_taken_names();
    let status = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_transform_where_it_runs", "--ignored"])
        .current_dir(project.path())
        .stdout(std::process::Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

/// Run by the test below in a process of its own, which is then killed.
#[tokio::test]
#[ignore = "never ends"]
async fn a_parent_that_will_be_killed() {
    let out = tempfile::tempdir().unwrap();
    let told = std::env::var_os("TOLD").unwrap();
    let mut call = call("with_a_child", out.path());
    call.params.insert("told".to_owned(), json!(told.to_str().unwrap()));
    let result = PyPool::start(options()).run_step(call, &mut Heard::default()).await;
    panic!("{result:?}");
}

#[tokio::test]
async fn what_user_code_started_ends_when_we_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let mut parent = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_parent_that_will_be_killed", "--ignored"])
        .env("TOLD", &told)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let started = async {
        loop {
            match std::fs::read_to_string(&told) {
                Ok(ids) if ids.ends_with('\n') => return ids,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let ids = tokio::time::timeout(Duration::from_secs(60), started).await.expect("it starts");
    parent.kill().await.unwrap();
    for id in ids.split_whitespace() {
        gone(id).await;
    }
}

#[tokio::test]
async fn user_code_sees_no_setting_of_ours() {
    let options = PyOptions { env: [("GREETING".to_owned(), "hello".to_owned())].into(), ..options() };
    let rows = numbers(vec![Some(1.0)]);
    let result = run(&PyPool::start(options), "functions:environment", Mode::Row, &rows).await.unwrap();
    assert_eq!(ys(&result.rows), [Some(0.0)]);
}

#[tokio::test]
async fn a_python_that_does_not_fit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            PyOptions { python: "/nowhere/python".into(), ..options() },
            706,
            "cannot start Python `/nowhere/python`",
        ),
        (PyOptions { package: Some(folder.path().to_owned()), ..options() }, 706, "No module named"),
        (
            PyOptions { package: Some(newer(folder.path())), ..options() },
            705,
            "speaks protocol 3, this program speaks 2",
        ),
    ];
    for (options, code, message) in cases {
        let error = Process::start(&options).await.unwrap_err();
        assert_eq!(error.fault().code.unwrap().0, code, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// A package whose worker greets with a newer protocol.
fn newer(folder: &Path) -> PathBuf {
    let package = folder.join("newer/tidemill");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    let worker = "import socket, struct\n\
                  head = b'{\"type\": \"hello\", \"protocol\": 3}'\n\
                  socket.socket(fileno=0).sendall(struct.pack('<II', len(head), 0) + head)\n";
    std::fs::write(package.join("guard.py"), worker).unwrap();
    folder.join("newer")
}

/// Waits until a process is gone, or a zombie that only its parent must still collect.
async fn gone(id: &str) {
    let ends = async {
        while std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it is gone");
}
