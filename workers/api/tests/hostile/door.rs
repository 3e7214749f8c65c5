//! Requests that were meant for another server, of another kind, or too large.

use serde_json::{Value, json};

use crate::world::World;

fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn foreign_hosts_foreign_pages_and_forms_change_nothing() {
    let world = World::new().await;
    let json = "content-type: application/json\r\n";
    let pause = "/v1/schedules/tidy/pause";
    let paused = async || {
        let (_, list) = world.call("GET", "/v1/schedules", "", b"").await;
        let of = |schedule: &&Value| schedule["name"] == "pipeline/tidy";
        list["items"].as_array().unwrap().iter().find(of).unwrap()["paused"].clone()
    };
    for headers in [
        "host: evil.example\r\n",
        "host: localhost\r\norigin: http://evil.example\r\n",
        "host: localhost\r\norigin: null\r\n",
        "host: 127.0.0.1.evil.example:7433\r\n",
    ] {
        for (method, path) in
            [("POST", pause), ("POST", "/v1/apply"), ("GET", "/v1/status"), ("GET", "/nothing")]
        {
            let (status, reply) = world.call(method, path, &format!("{headers}{json}"), b"").await;
            assert_eq!((status, code(&reply)), (403, "TM0186"), "{method} {path} {headers}: {reply}");
        }
    }
    for form in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
        for body in [&b""[..], b"a=b"] {
            for path in [pause, "/v1/runs", "/v1/datasets/build?format=csv&inputs=last_order"] {
                let (status, reply) =
                    world.call("POST", path, &format!("content-type: {form}\r\n"), body).await;
                assert_eq!((status, code(&reply)), (415, "TM0116"), "{path} {form}: {reply}");
            }
        }
    }
    assert_eq!(paused().await, false);
    // The same by a program, by a page of its own, under a declared name, and without a body.
    for headers in ["", "host: localhost\r\norigin: http://localhost\r\n", "host: tunnel.example\r\n"] {
        let (status, reply) = world.call("POST", pause, headers, b"").await;
        assert_eq!(status, 200, "{headers}: {reply}");
    }
    assert_eq!(paused().await, true);
}

#[tokio::test]
async fn every_route_has_a_limit_and_every_refusal_our_form() {
    let world = World::new().await;
    let json = "content-type: application/json\r\n";
    let large = vec![b' '; 2 << 20];
    for path in ["/v1/runs", "/v1/features/get", "/v1/clock", "/v1/schedules/tidy/pause"] {
        let (status, reply) = world.call("POST", path, json, &large).await;
        assert_eq!((status, code(&reply)), (413, "TM0187"), "{path}: {reply}");
    }
    // A length that is only announced is refused before anything is read.
    for (path, bytes) in [("/v1/apply", 65_u64 << 20), ("/v1/datasets/build?format=csv&inputs=x", 257 << 20)]
    {
        let kind = if path == "/v1/apply" { json } else { "content-type: application/octet-stream\r\n" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}content-length: {bytes}\r\n\r\n"
        );
        let (status, _, reply) = world.send(head.as_bytes()).await;
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!((status, code(&reply)), (413, "TM0187"), "{path}: {reply}");
    }
    // So is one that isn't announced.
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let head = format!(
        "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{json}transfer-encoding: chunked\r\n\r\n"
    );
    let (status, _, reply) = world.send(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!((status, code(&serde_json::from_slice(&reply).unwrap())), (413, "TM0187"));

    for (method, path, body, status, expected, word) in [
        ("GET", "/v1/runs?since=99999999999d", "", 400, "TM0112", "99999999999d"),
        ("GET", "/v1/runs?since=365000d", "", 200, "", ""),
        ("GET", "/v1/runs?pipeline=%00", "", 400, "TM0116", "NUL"),
        ("GET", "/v1/runs?limit=0", "", 400, "TM0116", "limit"),
        ("GET", "/v1/runs?limit=1001", "", 400, "TM0116", "limit"),
        ("GET", "/v1/sources/%00", "", 400, "TM0116", "NUL"),
        ("GET", "/v1/sources/%ff", "", 400, "TM0116", "%ff"),
        ("GET", "/v1/sources/%zz", "", 400, "TM0116", "two digits"),
        ("PUT", "/v1/runs", "", 405, "TM0117", ""),
        ("POST", "/v1/nowhere", "", 404, "TM0117", ""),
        (
            "POST",
            "/v1/runs",
            r#"{"pipeline": "tidy", "params": {"list": ["a", "\u0000"]}}"#,
            400,
            "TM0116",
            "params.list.1",
        ),
        ("POST", "/v1/runs", r#"{"pipeline": "ti\u0000dy"}"#, 400, "TM0116", "pipeline"),
    ] {
        let (got, reply) =
            world.call(method, path, if body.is_empty() { "" } else { json }, body.as_bytes()).await;
        assert_eq!((got, code(&reply)), (status, expected), "{method} {path} {body}: {reply}");
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "{method} {path}: {message}");
    }
    let deep = format!("{{\"entity\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let (status, reply) = world.call("POST", "/v1/features/get", json, deep.as_bytes()).await;
    assert_eq!((status, code(&reply)), (400, "TM0116"), "{reply}");
    let absurd =
        json!({ "files": { "tidemill.yaml": crate::world::PROJECT.replace("speed: 0", "speed: 1e12") } });
    let (status, reply) = world.post("/v1/apply", &absurd).await;
    assert_eq!((status, code(&reply)), (422, "TM0106"), "{reply}");
    assert!(reply["error"]["detail"].as_str().unwrap().contains("0 to 1000000"), "{reply}");
}
