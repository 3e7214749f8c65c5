//! A project's folder: check it here, apply it there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidemill_core::{Code, Fault};
use tidemill_offline::load_project;
use tidemill_spec::{
    LoadOptions, Loaded, PROJECT_FILE, Severity,
    diagnostic::{Diagnostic, Leak, render},
};

use super::Session;
use crate::{
    args::{ApplyArgs, CheckArgs, Global, ProjectArgs},
    client::segment,
    failure::{Done, Failure, UNREACHABLE, USAGE},
    output::{self, Format, plain, text},
};

/// `tidemill check`
pub(crate) async fn check(global: &Global, args: &CheckArgs) -> Done {
    let mut loaded = load(&args.project)?;
    if args.data {
        let session = Session::open(global)?;
        count_leaks(&session, &mut loaded.diagnostics).await?;
        compare_stored(&session, &mut loaded).await?;
    }
    report(global.output, global.quiet, &loaded)?;
    if loaded.failed() { Err(Failure::said()) } else { Ok(()) }
}

/// Says of each leak how many rows it lets see the future.
async fn count_leaks(session: &Session, diagnostics: &mut [Diagnostic]) -> Done {
    for diagnostic in diagnostics {
        let Some(Leak { source, used_at, known_at, .. }) = diagnostic.leak.clone() else { continue };
        let path = format!("/v1/sources/{}/seen-early", segment(&source));
        let moments = [("used_at", Some(used_at)), ("known_at", Some(known_at))];
        let counted = match session.client.query(&path, &moments).await {
            Ok(counted) => amount(&source, &counted),
            Err(failure) if failure.exit == UNREACHABLE => return Err(failure),
            // The server has never heard of it, or knows it under other columns.
            Err(failure) => failure.fault.message,
        };
        let help = diagnostic.help.take().unwrap_or_default();
        diagnostic.help = Some(format!("{help}   ({counted})"));
    }
    Ok(())
}

/// Warns of rows that are stored otherwise than the sources are declared here.
async fn compare_stored(session: &Session, loaded: &mut Loaded) -> Done {
    for source in loaded.objects.sources.values() {
        let path = format!("/v1/sources/{}/stored-otherwise", segment(&source.name));
        let told = match session.client.post(&path, &serde_json::to_value(source)?).await {
            Ok(reply) => reply["told"].as_array().cloned().unwrap_or_default(),
            Err(failure) if failure.exit == UNREACHABLE => return Err(failure),
            // The server has never heard of it: it has no rows.
            Err(_) => continue,
        };
        loaded.diagnostics.extend(told.iter().map(|told| Diagnostic {
            code: Code(475),
            severity: Severity::Warning,
            message: plain(told),
            labels: Vec::new(),
            help: None,
            path: String::new(),
            leak: None,
        }));
    }
    Ok(())
}

/// `327,346 of 327,346 rows would see the future, median 2h 41m`
fn amount(source: &str, counted: &Value) -> String {
    match counted["rows"].as_i64() {
        Some(0) | None => format!("nothing was uploaded to `{source}` yet"),
        Some(_) if counted["early"] == 0 => {
            format!("none of {} rows would see the future", output::count(&counted["rows"]))
        }
        Some(_) => format!(
            "{} of {} rows would see the future, median {}",
            output::count(&counted["early"]),
            output::count(&counted["rows"]),
            output::seconds(&counted["median_seconds"])
        ),
    }
}

/// `tidemill apply`
pub(crate) async fn apply(session: &Session, args: &ApplyArgs) -> Done {
    let loaded = checked(session, &args.project)?;
    let mut body = request(&loaded, &args.project, args.replace);
    body["plan"] = json!(args.plan);
    let applied = session.client.post("/v1/apply", &body).await?;
    let rows = applied["items"].as_array().cloned().unwrap_or_default();
    let all = rows.len();
    // A view whose values change is filled anew even where its own text did not.
    let told = |row: &Value| row["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
    let mut changed: Vec<Value> = rows
        .into_iter()
        .filter(|row| row["change"] != "unchanged" || !row["building"].is_null() || told(row))
        .collect();
    changed.extend(code_row(&applied["code"]));
    if matches!(session.format, Format::Table | Format::Wide) {
        let mut page = changed.iter().map(change).collect::<Vec<_>>().join("\n");
        if changed.is_empty() {
            session.say(format!("nothing has changed: {all} objects are in force as declared"));
            return Ok(());
        }
        page.push('\n');
        std::io::Write::write_all(&mut std::io::stdout().lock(), page.as_bytes())?;
        session.say(summary(&changed));
        return Ok(());
    }
    let columns = [text("OBJECT", "/object"), text("CHANGE", "/change"), text("VERSION", "/version")];
    Ok(output::list(session.format, &changed, "/object", &columns)?)
}

/// A project without mistakes; its warnings are printed.
pub(super) fn checked(session: &Session, project: &ProjectArgs) -> Result<Loaded, Failure> {
    let loaded = load(project)?;
    if loaded.failed() {
        report(session.format, true, &loaded)?;
        return Err(Failure::said());
    }
    // Warnings are for people: standard output holds what was applied.
    eprint!("{}", render(&loaded.diagnostics, &loaded.files, crate::failure::colour()));
    Ok(loaded)
}

/// What is sent: what was checked.
pub(super) fn request(loaded: &Loaded, project: &ProjectArgs, replace: bool) -> Value {
    let files: BTreeMap<&str, &str> =
        loaded.files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    json!({
        "files": files, "overlays": project.with, "allow_leaks": project.allow_leaks, "replace": replace,
    })
}

/// The project's Python files that are not as before, as a row among the objects.
pub(super) fn code_row(code: &Value) -> Option<Value> {
    let files = code["changed"].as_array().filter(|files| !files.is_empty())?;
    Some(json!({ "object": "code", "change": "changed", "files": files }))
}

/// `  ~ view/aircraft_delay  v3 → v4`
pub(super) fn change(row: &Value) -> String {
    let (object, version) = (plain(&row["object"]), row["version"].as_i64().unwrap_or(1));
    let line = match row["change"].as_str() {
        _ if row["files"].is_array() => {
            format!("  ~ code  {}: steps that start from now on run it, retries too", plain(&row["files"]))
        }
        Some("added") if version == 1 => format!("  + {object}"),
        Some("added") => format!("  + {object}  v{version}, declared again"),
        Some("removed") if object.starts_with("view/") => {
            format!("  - {object}  its rows are dropped once no model reads them")
        }
        Some("removed") => format!("  - {object}  its versions and rows stay"),
        Some("changed") => format!("  ~ {object}  v{} → v{version}", version - 1),
        _ => format!("  = {object}  v{version}"),
    };
    let line = match row["building"].as_i64() {
        Some(rows) => format!(
            "{line}  its values change: rows v{rows} are being computed and will replace the old ones"
        ),
        None => line,
    };
    let warnings = row["warnings"].as_array().into_iter().flatten();
    std::iter::once(line)
        .chain(warnings.map(|told| format!("    warning: {}", plain(told))))
        .collect::<Vec<_>>()
        .join("\n")
}

fn summary(changed: &[Value]) -> String {
    let count = |kind: &str| changed.iter().filter(|row| row["change"] == kind).count();
    let said = ["added", "changed", "removed"]
        .map(|kind| (count(kind), kind))
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect::<Vec<_>>();
    if said.is_empty() { "values are recomputed".to_owned() } else { said.join(", ") }
}

fn load(args: &ProjectArgs) -> Result<Loaded, Failure> {
    if !args.folder.join(PROJECT_FILE).is_file() {
        let fault = Fault::coded(105, format!("{} has no tidemill.yaml", args.folder.display()));
        return Err(Failure::new(
            USAGE,
            fault.hint("name the project's folder, or make one with `tidemill init NAME`"),
        ));
    }
    let overlays = args.with.iter().map(|folder| folder.display().to_string()).collect();
    let options = LoadOptions { overlays, allow_leaks: args.allow_leaks };
    Ok(load_project(&args.folder, &options)?)
}

fn report(format: Format, quiet: bool, loaded: &Loaded) -> Done {
    match format {
        Format::Table | Format::Wide => {
            eprint!("{}", render(&loaded.diagnostics, &loaded.files, crate::failure::colour()));
            if !quiet {
                tidemill_telemetry::say!("{}", verdict(loaded));
            }
            Ok(())
        }
        _ => {
            let rows: Vec<Value> =
                loaded.diagnostics.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
            Ok(output::list(format, &rows, "/code", &[])?)
        }
    }
}

fn verdict(loaded: &Loaded) -> String {
    let of = |severity| loaded.diagnostics.iter().filter(|found| found.severity == severity).count();
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let objects = plural(loaded.objects.definitions().len(), "object");
    match (of(Severity::Error), of(Severity::Warning)) {
        (0, 0) => format!("{objects}, no mistakes"),
        (0, warnings) => format!("{objects}, {}", plural(warnings, "warning")),
        (errors, _) => format!("\n{}", plural(errors, "mistake")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apply_says_what_changed_and_what_follows() {
        let rows = [
            json!({"object": "source/a", "change": "added", "version": 1, "building": null, "warnings": ["3 rows"]}),
            json!({"object": "view/b", "change": "changed", "version": 4, "building": 3}),
            json!({"object": "view/c", "change": "unchanged", "version": 1, "building": 2}),
            json!({"object": "monitor/d", "change": "removed", "version": 2, "building": null}),
            json!({"object": "label/e", "change": "added", "version": 2, "building": null}),
            code_row(&json!({"hash": "1", "changed": ["models/late.py", "util.py"]})).unwrap(),
        ];
        let lines = rows.iter().map(change).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{lines}\n{}", summary(&rows)), @r"
          + source/a
            warning: 3 rows
          ~ view/b  v3 → v4  its values change: rows v3 are being computed and will replace the old ones
          = view/c  v1  its values change: rows v2 are being computed and will replace the old ones
          - monitor/d  its versions and rows stay
          + label/e  v2, declared again
          ~ code  models/late.py, util.py: steps that start from now on run it, retries too
        2 added, 2 changed, 1 removed
        ");
    }
}
