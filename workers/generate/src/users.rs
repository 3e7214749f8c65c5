//! Users of a shop and what they do, decided by a seed.
//!
//! Events are numbered. An event's number says when it happens ([`Timeline`]); 64 numbers are one block, and a block's
//! sessions are drawn by the seed and the block's number alone. So neither the rate nor the number of producers changes
//! what is sent, and a part of the sequence is the same however long the whole is.

mod people;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use serde::Serialize;
use tidemill_core::Time;

use crate::{Record, draw::Draw};
pub use people::Population;

/// Events whose sessions go on side by side.
const BLOCK: u64 = 64;
/// Events of a session, at most.
const SESSION_MAX: u64 = 12;
/// How long before its place a late event happened, minutes.
const LATE_MINUTES: (u64, u64) = (10, 48 * 60);
/// How many events ago an event happened that is sent out of order.
const PLACES_BACK: (u64, u64) = (2, 32);

/// When events happen: number `n` at `from + n · gap`.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// When the first event happens.
    pub from: Time,
    /// Between two events, microseconds.
    pub gap_us: f64,
}

impl Timeline {
    /// Events spread evenly over `[from, to)`.
    #[expect(clippy::cast_precision_loss, reason = "a span in microseconds, and a number of events")]
    pub fn over(from: Time, to: Time, rows: u64) -> Self {
        Self { from, gap_us: (to - from).num_microseconds().unwrap_or(i64::MAX) as f64 / rows.max(1) as f64 }
    }

    /// Events that follow each other at a rate, events a second.
    pub fn at_rate(from: Time, rate: f64) -> Self {
        Self { from, gap_us: 1e6 / rate }
    }

    /// When event `number` happens, or would.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "places in time")]
    pub fn at(&self, number: i64) -> Time {
        self.from + TimeDelta::microseconds((number as f64 * self.gap_us) as i64)
    }
}

/// Of all events, what part has something wrong with it, each in [0, 1], together at most 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// Happened 10 minutes to 48 hours before it is sent.
    pub late: f64,
    /// Sent twice; the copy a moment later.
    pub doubled: f64,
    /// Happened before events that were sent before it: 2 to 32 places.
    pub out_of_order: f64,
    /// Is no event: cut off, without a time, or with a value of another type.
    pub malformed: f64,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An event in its place.
    Event,
    /// An event that comes late.
    Late,
    /// An event that others have overtaken.
    OutOfOrder,
    /// The copy of an event.
    Doubled,
    /// No event.
    Malformed,
}

impl Kind {
    /// All, in the order in which they are counted.
    pub const ALL: [Self; 5] = [Self::Event, Self::Late, Self::OutOfOrder, Self::Doubled, Self::Malformed];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "on_time",
            Self::Late => "late",
            Self::OutOfOrder => "out_of_order",
            Self::Doubled => "doubled",
            Self::Malformed => "malformed",
        }
    }
}

/// A record as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserRecord {
    /// The event's number, which says when it is due.
    pub number: u64,
    /// Whose it is: the record's key.
    pub user_id: u32,
    /// What it is.
    pub kind: Kind,
    /// The record's value: an object in JSON, in one line.
    pub text: String,
}

/// What a user did.
#[derive(Debug, Serialize)]
struct Event {
    user_id: u32,
    action: &'static str,
    timestamp: String,
    /// Of a purchase: what was paid.
    value: Option<f64>,
    session_id: String,
    /// When the shop's application last saw the user buy, this purchase included.
    last_purchase_at: Option<String>,
}

/// The records, in the order in which they are sent. Of `rows` events, or without end.
#[derive(Clone, Debug)]
pub struct Users {
    population: Population,
    timeline: Timeline,
    shares: Shares,
    rows: u64,
    block: u64,
    ready: VecDeque<UserRecord>,
    bought: HashMap<u32, Time>,
}

impl Users {
    /// The records of a population on a timeline.
    pub fn new(population: Population, timeline: Timeline, shares: Shares, rows: Option<u64>) -> Self {
        let rows = rows.unwrap_or(u64::MAX);
        Self { population, timeline, shares, rows, block: 0, ready: VecDeque::new(), bought: HashMap::new() }
    }

    /// The records that producer `mine` of so many sends: those of its users, so that each user's keep their order. Due at
    /// `rate` events a second, or at once.
    pub fn dealt(
        self,
        (mine, producers): (u32, u32),
        topic: &str,
        rate: Option<f64>,
    ) -> impl Iterator<Item = Record> + Send + use<> {
        let topic: Arc<str> = topic.into();
        self.filter(move |record| record.user_id % producers == mine).map(move |record| Record {
            topic: topic.clone(),
            key: record.user_id.to_string(),
            text: record.text,
            kind: record.kind as usize,
            due: rate.map_or(Duration::ZERO, |rate| seconds(record.number, rate)),
        })
    }

    /// Draws the next block: its events, then the copies of those that are sent twice.
    fn draw_block(&mut self) {
        let first = self.block * BLOCK;
        let mut draw = Draw::of(self.population.seed, "block", &[self.block]);
        let mut sessions = self.sessions(&mut draw, self.timeline.at(place(first)));
        let mut turns: Vec<usize> = sessions
            .iter()
            .enumerate()
            .flat_map(|(place, session)| std::iter::repeat_n(place, session.actions.len()))
            .collect();
        draw.shuffle(&mut turns);
        let mut copies = Vec::new();
        for (number, turn) in (first..self.rows).zip(turns) {
            let record = self.record(number, &mut sessions[turn], &mut draw);
            if record.kind == Kind::Event && draw.chance(self.doubled_of_rest()) {
                copies.push(UserRecord { kind: Kind::Doubled, ..record.clone() });
            }
            self.ready.push_back(record);
        }
        self.ready.extend(copies);
        self.block += 1;
    }

    /// What part of the events in their place is doubled, so that it is the declared share of all.
    fn doubled_of_rest(&self) -> f64 {
        let Shares { late, doubled, out_of_order, malformed } = self.shares;
        doubled / (1.0 - late - out_of_order - malformed).max(f64::MIN_POSITIVE)
    }

    /// Sessions of one block, together of its length.
    fn sessions(&self, draw: &mut Draw, at: Time) -> Vec<Session> {
        let mut sessions = Vec::new();
        let mut left = BLOCK;
        while left > 0 {
            let length = (1 + draw.below(SESSION_MAX)).min(left);
            let user_id = self.population.visitor(draw, at);
            let buys = draw.chance(self.population.person(user_id).buys);
            sessions.push(Session { user_id, id: draw.bits(), actions: actions(draw, length, buys) });
            left -= length;
        }
        sessions
    }

    fn record(&mut self, number: u64, session: &mut Session, draw: &mut Draw) -> UserRecord {
        let action = session.actions.pop_front().expect("a turn for each action");
        let kind = self.kind(draw);
        let at = self.happened(number, kind, draw);
        let user_id = session.user_id;
        let before = self.bought.get(&user_id).copied();
        let value = (action == "purchase").then(|| price(draw));
        if value.is_some() && kind != Kind::Malformed {
            self.bought.insert(user_id, before.map_or(at, |before| before.max(at)));
        }
        let last = if value.is_some() { Some(at) } else { before.filter(|before| *before <= at) };
        let event = Event {
            user_id,
            action,
            timestamp: written(at),
            value,
            session_id: format!("{:016x}", session.id),
            last_purchase_at: last.map(written),
        };
        let text = serde_json::to_string(&event).expect("an event is JSON");
        let text = if kind == Kind::Malformed { malformed(&text, draw) } else { text };
        UserRecord { number, user_id, kind, text }
    }

    fn kind(&self, draw: &mut Draw) -> Kind {
        let Shares { late, out_of_order, malformed, .. } = self.shares;
        match draw.unit() {
            drawn if drawn < late => Kind::Late,
            drawn if drawn < late + out_of_order => Kind::OutOfOrder,
            drawn if drawn < late + out_of_order + malformed => Kind::Malformed,
            _ => Kind::Event,
        }
    }

    fn happened(&self, number: u64, kind: Kind, draw: &mut Draw) -> Time {
        let between =
            |draw: &mut Draw, (least, most): (u64, u64)| place(least + draw.below(most - least + 1));
        match kind {
            Kind::Late => self.timeline.at(place(number)) - TimeDelta::minutes(between(draw, LATE_MINUTES)),
            Kind::OutOfOrder => self.timeline.at(place(number) - between(draw, PLACES_BACK)),
            Kind::Event | Kind::Doubled | Kind::Malformed => self.timeline.at(place(number)),
        }
    }
}

impl Iterator for Users {
    type Item = UserRecord;

    fn next(&mut self) -> Option<UserRecord> {
        if self.ready.is_empty() && self.block * BLOCK < self.rows {
            self.draw_block();
        }
        self.ready.pop_front()
    }
}

/// A visit to the shop.
#[derive(Debug)]
struct Session {
    user_id: u32,
    id: u64,
    /// What is yet to be done in it.
    actions: VecDeque<&'static str>,
}

/// A visit begins with a view; one that ends in a purchase has something in the cart before.
fn actions(draw: &mut Draw, length: u64, buys: bool) -> VecDeque<&'static str> {
    let bought = if buys && length >= 3 { 2 } else { 0 };
    let browsing = (1..length - bought).map(|_| match draw.unit() {
        drawn if drawn < 0.45 => "view",
        drawn if drawn < 0.92 => "click",
        _ => "add_to_cart",
    });
    let mut actions: VecDeque<&'static str> = std::iter::once("view").chain(browsing).collect();
    if bought > 0 {
        actions.extend(["add_to_cart", "purchase"]);
    }
    actions
}

/// What a purchase costs: 3 to some hundreds, with two decimals; most are near 25.
fn price(draw: &mut Draw) -> f64 {
    let drawn = 3.0 + draw.wait(1.0) * 12.0 + draw.wait(1.0) * 12.0;
    (drawn * 100.0).round() / 100.0
}

/// An event as something that is none.
fn malformed(text: &str, draw: &mut Draw) -> String {
    let without = |begin: &str, instead: &str| {
        let start = text.find(begin).expect("a field of every event");
        let end = start + text[start..].find(',').expect("not the last field");
        format!("{}{instead}{}", &text[..start], &text[end..])
    };
    match draw.below(4) {
        0 => text[..text.len() / 2].to_owned(),
        1 => without("\"user_id\"", "\"user_id\":\"nobody\""),
        2 => without("\"timestamp\"", "\"time\":null"),
        _ => without("\"timestamp\"", "\"timestamp\":\"yesterday\""),
    }
}

fn written(at: Time) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// How long so many events take at a rate.
#[expect(clippy::cast_precision_loss, reason = "a number of events")]
fn seconds(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

fn place(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
