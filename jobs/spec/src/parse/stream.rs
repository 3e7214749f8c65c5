//! The block `stream` of a source.

use std::time::Duration;

use crate::{
    Batch, Start, Stream, StreamFormat, units::parse_short_duration, value::parse_time, yaml::fields::At,
};

const FORMATS: [(&str, StreamFormat); 2] = [("json", StreamFormat::Json), ("csv", StreamFormat::Csv)];
const STARTS: [(&str, Start); 2] = [("earliest", Start::Earliest), ("latest", Start::Latest)];
/// Kafka's own bound.
const TOPIC_CHARS_MAX: usize = 249;
/// A batch costs some commits of the database; records that wait longer belong in files.
const EVERY_MIN: Duration = Duration::from_millis(10);
const EVERY_MAX: Duration = Duration::from_mins(10);

pub(super) fn stream(at: &At<'_>) -> Option<Stream> {
    let mut fields = at.fields("the stream")?;
    let topic = fields.need("topic").and_then(|at| topic(&at));
    let key = fields.get("key").and_then(|at| at.name());
    let format = fields.get("format").and_then(|at| at.meaning(&FORMATS)).unwrap_or_default();
    let start = fields.get("start").map_or(Some(Start::default()), |at| start(&at));
    let batch = fields.get("batch").map_or(Some(Batch::default()), |at| batch(&at));
    fields.finish();
    Some(Stream { topic: topic?, key, format, start: start?, batch: batch? })
}

fn topic(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty()
        || text.len() > TOPIC_CHARS_MAX
        || !text.chars().all(allowed)
        || text.chars().all(|c| c == '.')
    {
        at.error(209, format!("`{text}` is not the name of a topic"))
            .help(format!("Kafka allows letters, digits, `.`, `_` and `-`, {TOPIC_CHARS_MAX} at most"));
        return None;
    }
    Some(text)
}

fn start(at: &At<'_>) -> Option<Start> {
    let text = at.text()?;
    if let Some((_, start)) = STARTS.iter().find(|(word, _)| *word == text) {
        return Some(*start);
    }
    let time = parse_time(&text);
    if time.is_none() {
        at.error(209, format!("reading cannot start at `{text}`"))
            .help("`earliest`, `latest`, or an instant such as \"2013-06-01T00:00:00Z\"");
    }
    time.map(Start::At)
}

fn batch(at: &At<'_>) -> Option<Batch> {
    let usual = Batch::default();
    let mut fields = at.fields("the batch")?;
    let rows = fields.get("rows").map_or(Some(usual.rows), |at| {
        at.int(1, i64::from(Batch::ROWS_MAX)).and_then(|rows| u32::try_from(rows).ok())
    });
    let every = fields.get("every").map_or(Some(usual.every), |at| every(&at));
    fields.finish();
    Some(Batch { rows: rows?, every: every? })
}

fn every(at: &At<'_>) -> Option<Duration> {
    let every = at.text().and_then(|text| parse_short_duration(&text));
    let within = every.filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every));
    if within.is_none() {
        at.error(209, "a batch is cut after a time between `10ms` and `10m`")
            .help("rows that may wait longer come as files");
    }
    within
}
