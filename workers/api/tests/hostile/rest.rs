//! Random requests at every route.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidemill_testkit::fuzz::{Dice, memory_peak_mib};

use crate::world::{PROJECT, World};

const REQUESTS: usize = 2_500;

/// Every route but those of projects and labels, which have tests of their own; `*` is something in a path.
const ROUTES: [&str; 44] = [
    "/readyz",
    "/v1/status",
    "/v1/places",
    "/v1/workers",
    "/v1/queue",
    "/v1/clock",
    "/v1/runs",
    "/v1/runs/*",
    "/v1/runs/*/logs",
    "/v1/runs/*/retry",
    "/v1/runs/*/cancel",
    "/v1/schedules",
    "/v1/schedules/*/pause",
    "/v1/schedules/*/resume",
    "/v1/sources",
    "/v1/sources/*",
    "/v1/sources/*/seen-early",
    "/v1/sources/*/dead-letters",
    "/v1/sources/*/replay",
    "/v1/sources/*/push",
    "/v1/sources/*/truncate",
    "/v1/sources/*/drop",
    "/v1/entities/*/erase",
    "/v1/uploads/*",
    "/v1/features",
    "/v1/features/get",
    "/v1/features/*",
    "/v1/features/*/history",
    "/v1/features/*/parity",
    "/v1/features/*/backfill",
    "/v1/features/*/recompute",
    "/v1/datasets",
    "/v1/datasets/*",
    "/v1/models",
    "/v1/models/*",
    "/v1/models/*/entity",
    "/v1/models/*/request",
    "/v1/models/*/promote",
    "/v1/models/*/rollback",
    "/v1/monitors/*",
    "/v1/monitors/*/report",
    "/v1/monitors/*/run",
    "/v1/lineage",
    "/*",
];

const NAMES: [&str; 12] = [
    "orders",
    "last_order",
    "guess",
    "rows",
    "tidy",
    "large",
    "pipeline%2Ftidy",
    "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "dset_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "upl_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "..",
    "%2e%2e%2f",
];

const FIELDS: [&str; 22] = [
    "state",
    "pipeline",
    "all",
    "since",
    "limit",
    "step",
    "attempt",
    "used_at",
    "known_at",
    "entity",
    "window",
    "object",
    "direction",
    "date",
    "params",
    "views",
    "at",
    "version",
    "alias",
    "time",
    "x",
    "files",
];

fn encoded(text: &str) -> String {
    text.bytes().take(300).fold(String::new(), |mut path, byte| {
        let _ = write!(path, "%{byte:02x}");
        path
    })
}

fn path(dice: &mut Dice) -> String {
    let mut path = (*dice.pick(&ROUTES)).to_owned();
    while path.contains('*') {
        let name = if dice.below(3) == 0 { encoded(&dice.text()) } else { (*dice.pick(&NAMES)).to_owned() };
        path = path.replacen('*', &name.replace('*', ""), 1);
    }
    for index in 0..dice.below(3) {
        let value = if dice.below(2) == 0 { encoded(&dice.text()) } else { (*dice.pick(&NAMES)).to_owned() };
        let _ = write!(path, "{}{}={value}", if index == 0 { '?' } else { '&' }, dice.pick(&FIELDS));
    }
    path
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth > 4 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(i64::MIN),
        2 => json!(u64::MAX),
        3 => json!(1e308),
        4 => dice.text().into(),
        5 => (*dice.pick(&NAMES)).into(),
        6 => (0..dice.below(4)).map(|_| value(dice, depth + 1)).collect(),
        _ => {
            let named =
                (0..dice.below(4)).map(|_| ((*dice.pick(&FIELDS)).to_owned(), value(dice, depth + 1)));
            Value::Object(named.collect())
        }
    }
}

fn body(dice: &mut Dice) -> Vec<u8> {
    let right = [
        json!({ "pipeline": "tidy", "date": "2024-05-01", "params": { "days": 2 } }),
        json!({ "pipeline": "tidy", "date": "9999-12-31" }),
        json!({ "pipeline": "tidy", "date": "-262143-01-01" }),
        json!({ "entity": { "customer_id": 1, "region": "x" }, "views": ["last_order"], "at": "2024-06-01" }),
        json!({ "entity": "1/x", "limit": 5 }),
        json!({ "version": 1, "alias": "champion" }),
        json!({ "window": "2024-05-01..2024-05-02" }),
        json!({ "window": "9999-12" }),
        json!({ "time": "2024-07-01T00:00:00Z" }),
        json!({ "time": "9999-12-31T23:59:59.999999Z" }),
        json!({}),
    ];
    let body = match dice.below(4) {
        0 => value(dice, 0),
        _ => dice.pick(&right).clone(),
    };
    let text = body.to_string().into_bytes();
    if dice.below(2) == 0 { dice.broken(&text) } else { text }
}

/// Success, or an error in our form that isn't our fault.
fn typed(status: u16, reply: &Value) -> bool {
    match status {
        200 => true,
        400..=499 => reply["error"]["code"].as_str().is_some_and(|code| code.starts_with("TM")),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_at_every_route_have_typed_answers() {
    let (world, mut dice) = (World::new().await, Dice::new("random_requests_at_every_route"));
    let before = memory_peak_mib();
    for _ in 0..REQUESTS {
        let (method, path) = (*dice.pick(&["GET", "GET", "POST", "POST", "DELETE", "HEAD"]), path(&mut dice));
        let key = match dice.below(6) {
            0 => format!("idempotency-key: {}\r\n", dice.below(50)),
            _ => String::new(),
        };
        let body = if method == "POST" { body(&mut dice) } else { Vec::new() };
        let headers = format!("content-type: application/json\r\n{key}");
        let (status, reply) = world.call(method, &path, &headers, &body).await;
        let shown = String::from_utf8_lossy(&body);
        assert!(typed(status, &reply) || method == "HEAD", "{method} {path} {shown}: {status} {reply}");
    }
    // Not even HTTP.
    let request = b"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{\"pipeline\": \"tidy\"}";
    for _ in 0..300 {
        let broken = [dice.broken(request), b"\r\n\r\n".to_vec()].concat();
        let closed = tokio::time::timeout(std::time::Duration::from_millis(200), world.send(&broken)).await;
        assert!(closed.is_err() || closed.is_ok_and(|(status, ..)| status != 500), "{broken:?}");
    }
    assert_eq!(world.call("GET", "/readyz", "", b"").await.0, 200);
    let grown = memory_peak_mib() - before;
    assert!(grown < 300, "{grown} MiB more");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_projects_are_applied_or_refused() {
    let (world, mut dice) = (World::new().await, Dice::new("broken_projects_are_applied_or_refused"));
    for _ in 0..150 {
        let broken = String::from_utf8_lossy(&dice.broken(PROJECT.as_bytes())).into_owned();
        let name = if dice.below(4) == 0 { dice.text() } else { "more/x.py".to_owned() };
        let body = json!({ "files": { "tidemill.yaml": broken, name: dice.text() } });
        let (status, reply) = world.post("/v1/apply", &body).await;
        assert!(typed(status, &reply), "{body}: {status} {reply}");
    }
    assert_eq!(world.call("GET", "/readyz", "", b"").await.0, 200);
}
