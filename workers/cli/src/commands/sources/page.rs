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
        + &output::section("last files", &page["upload_list"], &files)
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
