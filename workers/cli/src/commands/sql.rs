//! Questions in SQL.

use serde_json::{Value, json};

use super::Session;
use crate::{
    args::SqlArgs,
    failure::Done,
    files,
    output::{self, Format, count},
};

/// `tidemill sql`
pub(crate) async fn sql(session: &Session, args: &SqlArgs) -> Done {
    let mut question = json!({ "query": args.query, "at": args.at });
    if let Some(out) = &args.out {
        let format = files::ending(out, &["parquet", "csv"])?;
        files::free(out, args.force)?;
        let query = [("format", Some(format.to_owned()))];
        let (rows, report) = session.client.post_for_bytes("/v1/sql/file", &query, &question).await?;
        files::write(out, &rows, args.force)?;
        let mut report = report.unwrap_or_else(|| json!({}));
        report["file"] = Value::from(out.display().to_string());
        let told = |report: &Value| format!("{} rows in {}", count(&report["rows"]), out.display());
        return Ok(output::object(session.format, &report, "/file", told)?);
    }
    question["limit"] = args.limit.into();
    let answer = session.client.post("/v1/sql", &question).await?;
    let rows = answer["items"].as_array().cloned().unwrap_or_default();
    let columns = answer["columns"].as_array().into_iter().flatten();
    let names: Vec<&str> = columns.filter_map(|column| column["name"].as_str()).collect();
    match session.format {
        Format::Table | Format::Wide => output::text_out(&output::grid(&rows, &names))?,
        // What programs read is rows; their number and types are for who asks for the whole answer.
        Format::Json | Format::Yaml => output::object(session.format, &answer, "", |_| String::new())?,
        Format::Jsonl | Format::Name => {
            let first = names.first().map(|name| output::pointer(name)).unwrap_or_default();
            output::list(session.format, &rows, &first, &[])?;
        }
    }
    let all = answer["rows"].as_u64().unwrap_or_default();
    if all > rows.len() as u64 {
        let (shown, all) = (rows.len(), count(&answer["rows"]));
        session.say(format!("{shown} of {all} rows; --limit shows more, --out FILE writes all"));
    }
    Ok(())
}
