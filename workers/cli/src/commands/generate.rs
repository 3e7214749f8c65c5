//! Events as clients would send them: options to generators, files to the gateway, and the count of what arrived.

mod options;
mod progress;
mod uploads;

use std::{
    io::{BufWriter, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use serde_json::{Value, json};
use tidemill_core::{Clock as _, SystemClock};
use tidemill_generate::{Error, Flights, Kafka, Kind, Replay, STREAMS, Tally, Users, send};

use super::dev;
use crate::{
    args::{FlightsArgs, Generate, Global, TargetArgs, UsersArgs},
    config,
    failure::{Done, FAILED, Failure, UNREACHABLE, USAGE},
    files,
    output::{self, count, facts, instant, plain, seconds},
};
use progress::Progress;
use uploads::{File, Uploads};

/// Where records go.
enum Target {
    Kafka(Kafka),
    File(PathBuf),
}

/// `tidemill generate …`
pub(crate) async fn generate(global: &Global, command: Generate) -> Done {
    match command {
        Generate::Users(args) => users(global, args).await,
        Generate::Flights(args) => flights(global, args).await,
    }
}

async fn users(global: &Global, args: UsersArgs) -> Done {
    let plan = options::plan(&args, SystemClock.now())?;
    let records = Users::new(plan.population, plan.timeline, plan.shares, plan.rows);
    let uploads = Uploads::open(global, &args.target, &args.upload_to)?;
    let target = match &args.to_file {
        Some(path) => files::free(path, args.force).map(|()| Target::File(path.clone()))?,
        None => Target::Kafka(kafka(&args.target)?),
    };
    let tally = Arc::new(Tally::default());
    let progress = Progress::new(global, plan.rows, tally.clone());
    let started = Instant::now();

    let sending = async {
        let kafka = match target {
            Target::File(path) => return write(path, records, tally.clone()).await,
            Target::Kafka(kafka) => kafka,
        };
        kafka.with_topics(&[&args.topic], args.target.partitions).await.map_err(failed)?;
        let dealt = (0..args.producers)
            .map(|mine| records.clone().dealt((mine, args.producers), &args.topic, plan.rate));
        send(&kafka, &tally, dealt).await.map_err(failed)
    };
    let about_users = |number: u32, last: bool| {
        // As of the moment that the events have reached: it tells nothing that a user didn't know by then.
        let at =
            plan.timeline.at(i64::try_from(tally.acknowledged().iter().sum::<u64>()).unwrap_or(i64::MAX));
        let (text, rows) = plan.population.file(u64::from(number), at);
        (!last).then(|| File { name: format!("users-{number:04}.csv"), text, rows })
    };
    let ended = progress.until(sending, uploads.every(args.upload_every, about_users), &uploads).await;

    let of = |kind: Kind| tally.acknowledged()[kind as usize];
    let events = of(Kind::Event) + of(Kind::Late) + of(Kind::OutOfOrder);
    let report = json!({
        "topic": args.to_file.is_none().then_some(&args.topic),
        "file": args.to_file,
        "seed": args.seed,
        "from": plan.timeline.from,
        "records": events + of(Kind::Doubled) + of(Kind::Malformed),
        "events": events,
        "late": of(Kind::Late),
        "out_of_order": of(Kind::OutOfOrder),
        "doubled": of(Kind::Doubled),
        "malformed": of(Kind::Malformed),
        "files": uploads.files(),
        "file_rows": uploads.rows(),
        "seconds": started.elapsed().as_secs_f64(),
    });
    output::object(global.output, &report, "/records", users_page)?;
    ended.and_then(|()| tally.complete().map_err(failed))
}

async fn flights(global: &Global, args: FlightsArgs) -> Done {
    let now = SystemClock.now();
    let (from, to) = (options::moment("--from", &args.from, now)?, options::moment("--to", &args.to, now)?);
    let folder = args.flights.map_or_else(dev::default_flights, Ok)?;
    let flights =
        Arc::new(Flights::read(&folder, Replay { from, to, day_every: args.day_every }).map_err(failed)?);
    let uploads = Uploads::open(global, &args.target, &args.upload_to)?;
    let kafka = kafka(&args.target)?;
    let tally = Arc::new(Tally::default());
    let progress = Progress::new(global, Some(flights.len() as u64), tally.clone());
    let started = Instant::now();

    let sending = async {
        let topics = STREAMS.map(|stream| format!("flights.{stream}"));
        let topics = topics.each_ref().map(String::as_str);
        kafka.with_topics(&topics, args.target.partitions).await.map_err(failed)?;
        send(&kafka, &tally, (0..STREAMS.len()).map(|stream| flights.records(stream))).await.map_err(failed)
    };
    let schedule = |number: u32, _last: bool| {
        let (text, rows) = flights.schedule(number).filter(|_| !tally.stopped())?;
        Some(File { name: format!("schedule-{number:04}.csv"), text, rows })
    };
    let ended = progress.until(sending, uploads.every(args.day_every, schedule), &uploads).await;

    let sent = tally.acknowledged();
    let mut report = json!({ "from": from, "to": to, "records": sent.iter().sum::<u64>() });
    STREAMS.iter().zip(sent).for_each(|(stream, sent)| report[*stream] = sent.into());
    report["files"] = uploads.files().into();
    report["file_rows"] = uploads.rows().into();
    report["seconds"] = started.elapsed().as_secs_f64().into();
    output::object(global.output, &report, "/records", flights_page)?;
    ended.and_then(|()| tally.complete().map_err(failed))
}

/// The Kafka that is named, or that of the running tree.
fn kafka(target: &TargetArgs) -> Result<Kafka, Failure> {
    let brokers = target.brokers.clone().map_or_else(config::brokers, Ok)?;
    Kafka::new(&brokers, target.kafka_config.as_deref()).map_err(failed)
}

/// Writes the records to a file instead, one a line, in the order in which they would be sent.
async fn write(path: PathBuf, records: Users, tally: Arc<Tally>) -> Done {
    let written = tokio::task::spawn_blocking(move || {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        for record in records.take_while(|_| !tally.stopped()) {
            writeln!(file, "{}", record.text)?;
            tally.count(record.kind as usize);
        }
        file.flush()
    });
    Ok(written.await??)
}

fn failed(error: Error) -> Failure {
    let exit = match error {
        Error::Unreachable { .. } => UNREACHABLE,
        Error::File { .. } => USAGE,
        Error::Refused { .. } | Error::Undelivered { .. } => FAILED,
    };
    Failure::new(exit, error.fault())
}

fn users_page(report: &Value) -> String {
    let number = |name: &str| count(&report[name]);
    let valid = json!(report["events"].as_u64().unwrap_or(0) + report["doubled"].as_u64().unwrap_or(0));
    facts(&[
        ("topic", plain(&report["topic"])),
        ("file", plain(&report["file"])),
        ("from", instant(&report["from"])),
        ("events", number("events")),
        ("  late", number("late")),
        ("  out of order", number("out_of_order")),
        ("doubled", number("doubled")),
        ("malformed", number("malformed")),
        ("records", format!("{}, {} of them valid", number("records"), count(&valid))),
        ("files", format!("{} about users, with {} rows", number("files"), number("file_rows"))),
        ("time", seconds(&report["seconds"])),
    ])
}

fn flights_page(report: &Value) -> String {
    let number = |name: &str| count(&report[name]);
    let streams = STREAMS.iter().map(|stream| (*stream, number(stream)));
    let rest = [
        ("records", number("records")),
        ("files", format!("{} of the schedule, with {} flights", number("files"), number("file_rows"))),
        ("time", seconds(&report["seconds"])),
    ];
    facts(&streams.chain(rest).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_told_by_kind() {
        let report = json!({
            "topic": "users", "from": "2026-03-01T00:00:00Z", "records": 20_140, "events": 19_900, "late": 400,
            "out_of_order": 200, "doubled": 140, "malformed": 100, "files": 3, "file_rows": 1_041, "seconds": 24.2,
        });
        insta::assert_snapshot!(users_page(&report), @r"
        topic           users
        from            2026-03-01 00:00:00Z
        events          19,900
          late          400
          out of order  200
        doubled         140
        malformed       100
        records         20,140, 20,040 of them valid
        files           3 about users, with 1,041 rows
        time            24.2 s
        ");
        let report = json!({
            "records": 60_001, "departures": 27_000, "arrivals": 26_001, "weather": 7_000,
            "files": 31, "file_rows": 34_000, "seconds": 60.1,
        });
        insta::assert_snapshot!(flights_page(&report), @r"
        departures  27,000
        arrivals    26,001
        weather     7,000
        records     60,001
        files       31 of the schedule, with 34,000 flights
        time        1m 00s
        ");
    }
}
