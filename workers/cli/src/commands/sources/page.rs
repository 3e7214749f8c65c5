//! One source for people: its columns, what came in, its last files.

use serde_json::Value;

use crate::output::{self, count, facts, instant, plain, size, text};

/// The page of a source.
pub(super) fn source(page: &Value) -> String {
    let letters = match count(&page["dead_letters"]) {
        none if none == "0" => none,
        some => format!("{some}   tidemill sources dead-letters {}", plain(&page["name"])),
    };
    let head = facts(&[
        ("source", plain(&page["name"])),
        ("about", plain(&page["description"])),
        ("owner", plain(&page["owner"])),
        ("tags", plain(&page["tags"])),
        ("rows", count(&page["rows"])),
        ("dead letters", letters),
        ("files", count(&page["uploads"])),
        ("newest event", instant(&page["newest_event"])),
        ("event time", plain(&page["event_time"])),
        ("available time", plain(&page["available_time"])),
        ("created time", plain(&page["created_time"])),
        ("unique", plain(&page["unique"])),
        ("newest by", plain(&page["newest"])),
        ("not declared", plain(&page["extra"])),
    ]);
    let columns: Vec<Value> = page["columns"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, column)| {
            let mut column = column.clone();
            column["name"] = name.clone().into();
            column["null"] = if column["nullable"] == true { "yes" } else { "no" }.into();
            column
        })
        .collect();
    let shown = [
        text("COLUMN", "/name"),
        text("TYPE", "/type"),
        text("NULL", "/null"),
        text("UNIT", "/unit"),
        text("MIN", "/min"),
        text("MAX", "/max"),
        text("KNOWN AT", "/known_at"),
        text("IN FILES", "/from"),
    ];
    let files = [
        text("UPLOAD", "/id"),
        text("FILE", "/file_name"),
        text("SIZE", "/size_bytes").by(size),
        text("ROWS", "/rows").by(count),
        text("DEAD LETTERS", "/dead_letters").by(count),
        text("ACCEPTED", "/accepted_at").by(instant),
        text("VISIBLE", "/published_at").by(instant),
    ];
    head + &output::section("columns", &columns.into(), &shown)
        + &stream(&page["stream"])
        + &output::section("last files", &page["upload_list"], &files)
}

/// A source's stream: how far each partition is, who reads it, what keeps it, what is missing.
fn stream(stream: &Value) -> String {
    if stream.is_null() {
        return String::new();
    }
    let readers = stream["readers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let faults: Vec<String> = readers
        .iter()
        .filter(|reader| !reader["fault"].is_null())
        .map(|reader| format!("{}: {}", plain(&reader["name"]), plain(&reader["fault"])))
        .collect();
    let read_by = match readers {
        [] => "nobody yet; gateways that are told of Kafka (TIDEMILL_KAFKA__BROKERS) begin within seconds"
            .to_owned(),
        _ => readers.iter().map(|reader| plain(&reader["name"])).collect::<Vec<_>>().join(", "),
    };
    let behind = stream["behind_ms"].as_i64().filter(|ms| *ms > 0);
    let behind = behind.map(|ms| format!("   oldest {} s", ms / 1_000)).unwrap_or_default();
    let lag = match &stream["lag"] {
        Value::Null => "not known yet".to_owned(),
        lag => format!("{} records{behind}", count(lag)),
    };
    let head = facts(&[
        ("stream", format!("topic {}   {}", plain(&stream["topic"]), plain(&stream["format"]))),
        ("lag", lag),
        ("read by", read_by),
        ("problem", if faults.is_empty() { "-".to_owned() } else { faults.join("; ") }),
    ]);
    let partitions = [
        text("PARTITION", "/partition"),
        text("NEXT OFFSET", "/next_offset").by(count),
        text("LAG", "/lag").by(count),
        text("ROWS", "/rows").by(count),
        text("DEAD LETTERS", "/dead_letters").by(count),
        text("LAST BATCH", "/moved_at").by(instant),
        text("READER", "/reader"),
        text("CLUSTER", "/cluster"),
    ];
    let gaps = [
        text("PARTITION", "/partition"),
        text("FROM OFFSET", "/from_offset").by(count),
        text("TO", "/to_offset").by(count),
        text("REASON", "/reason"),
        text("FOUND", "/found_at").by(instant),
    ];
    let missing = match stream["gaps"].as_array() {
        Some(found) if !found.is_empty() => output::section("missing in Kafka", &stream["gaps"], &gaps),
        _ => String::new(),
    };
    format!("\n{head}") + &output::section("partitions", &stream["partitions"], &partitions) + &missing
}

/// A dead letter with its place in two columns, whether it is a row of a file or a record.
pub(super) fn placed(mut letter: Value) -> Value {
    let (from, place) = match letter["topic"].as_str() {
        Some(topic) => (topic.into(), format!("{}:{}", letter["partition"], letter["offset"]).into()),
        None => (letter["upload"].clone(), letter["row"].clone()),
    };
    letter["from"] = from;
    letter["place"] = place;
    letter
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_says_what_came_in_and_what_did_not() {
        let page = json!({
            "name": "orders", "description": "One row for each order.", "owner": "", "tags": [], "rows": 1_234,
            "dead_letters": 3, "uploads": 2, "newest_event": "2024-05-31T12:00:00Z", "event_time": "ordered_at",
            "available_time": "paid_at", "created_time": null, "unique": ["order_id"], "newest": "accepted",
            "extra": "ignore",
            "columns": {
                "order_id": { "type": "int", "nullable": false },
                "amount": { "type": "float", "nullable": true, "unit": "USD", "min": 0.0, "known_at": "paid_at", "from": "Amount (USD)" },
            },
            "upload_list": [{
                "id": "upl_1", "file_name": "orders.csv", "size_bytes": 2_048, "rows": 1_234, "dead_letters": 3,
                "accepted_at": "2026-01-01T00:00:00Z", "published_at": null,
            }],
        });
        insta::assert_snapshot!(source(&page));
    }
}
