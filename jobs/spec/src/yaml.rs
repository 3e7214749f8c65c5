//! YAML as a tree that remembers where everything stands.
//!
//! serde alone stops at the first mistake of a document and loses its place where a value's type is chosen by
//! another field; this tree is read by [`fields`] instead, which reports every mistake and goes on. Syntax comes
//! from the parser below serde-saphyr, scalars stay text until somebody asks for a type.

pub(crate) mod fields;
mod quoting;

use serde_json::Value as Json;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span as Range};

pub(crate) use crate::diagnostic::Span;
use crate::diagnostic::{Place, Report};

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub span: Span,
    pub data: Data,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Text as written; `plain` where it stands without quotes.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping without double keys.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// The value below a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// What was written, where it is neither a list nor a map.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } => Some(text),
            Data::List(_) | Data::Map(_) => None,
        }
    }

    /// Whether nothing was written.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// As JSON, plain scalars by YAML's core schema.
    pub(crate) fn to_json(&self) -> Json {
        match &self.data {
            Data::Scalar { text, plain: true } => scalar_to_json(text),
            Data::Scalar { text, .. } => Json::from(text.as_str()),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
            }
        }
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.data {
            _ if self.is_null() => "nothing".to_owned(),
            Data::Scalar { text, plain: true } => format!("`{text}`"),
            Data::Scalar { text, .. } => format!("the text \"{text}\""),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a map".to_owned(),
        }
    }
}

fn scalar_to_json(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        _ => parse_int(text)
            .map(Json::from)
            .or_else(|| parse_float(text).map(Json::from))
            .unwrap_or_else(|| Json::from(text)),
    }
}

/// A whole number as YAML writes it.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// A finite number as YAML writes it.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let begins = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'));
    begins.then(|| text.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

/// The documents of one file. What cannot be read is reported and left out; documents after it are read.
pub(crate) fn documents(file: &str, text: &str, report: &Report) -> Vec<Node> {
    let text = quoting::repair(file, text, report);
    let mut options = Options::default();
    options.emit_comments = false;
    let mut tree = Tree { parser: Parser::new_from_str_with_options(&text, options), file, report };
    let mut nodes = Vec::new();
    loop {
        match tree.next_document() {
            Ok(Some(node)) if node.is_null() => {}
            Ok(Some(node)) => nodes.push(node),
            Ok(None) => return nodes,
            Err(Stop) => match tree.parser.proceed_next_document() {
                Ok(true) => {}
                _ => return nodes,
            },
        }
    }
}

/// The document is broken; it was said why.
struct Stop;

struct Tree<'a, T: serde_saphyr::granit_parser::BorrowedInput<'a>> {
    parser: Parser<'a, T>,
    file: &'a str,
    report: &'a Report,
}

impl<'a, T: serde_saphyr::granit_parser::BorrowedInput<'a>> Tree<'a, T> {
    fn next_document(&mut self) -> Result<Option<Node>, Stop> {
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {}
                Some((event, range)) => return self.node(event, range).map(Some),
            }
        }
    }

    fn event(&mut self) -> Result<Option<(Event<'a>, Range)>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                let mark = error.marker();
                let span = Span { line: mark.line().max(1), column: mark.col() + 1, length: 1 };
                let message = format!("not YAML: {}", error.info());
                self.report
                    .error(202, message)
                    .at(self.file, span, "")
                    .help("check the indentation and the quotes here and on the line above");
                Err(Stop)
            }
        }
    }

    fn node(&mut self, event: Event<'a>, range: Range) -> Result<Node, Stop> {
        let span = span_of(&range);
        if event.tag().is_some() || event.anchor_id().is_some_and(|id| id != 0) || event.is_alias() {
            self.report
                .error(211, "anchors, aliases and tags are not read")
                .at(self.file, span, "")
                .help("write the value out");
            return Err(Stop);
        }
        let data = match event {
            Event::Scalar(text, style, ..) => {
                Data::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => self.list()?,
            Event::MappingStart(..) => self.map()?,
            _ => return Err(Stop),
        };
        Ok(Node { span, data })
    }

    fn list(&mut self) -> Result<Data, Stop> {
        let mut items = Vec::new();
        while let Some((event, range)) = self.event()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, range)?);
        }
        Ok(Data::List(items))
    }

    fn map(&mut self) -> Result<Data, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((event, range)) = self.event()? {
            if event == Event::MappingEnd {
                break;
            }
            let key_span = span_of(&range);
            let Data::Scalar { text: key, .. } = self.node(event, range)?.data else {
                self.report.error(202, "a key must be text").at(self.file, key_span, "");
                return Err(Stop);
            };
            let Some((event, range)) = self.event()? else { return Err(Stop) };
            let value = self.node(event, range)?;
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => {
                    let places = Place::new(self.file, key_span, "again here");
                    let first = Place::new(self.file, first.key_span, "first here");
                    self.report.error(203, format!("key `{key}` is given twice")).place(places).place(first);
                }
                None => entries.push(Entry { key, key_span, value }),
            }
        }
        Ok(Data::Map(entries))
    }
}

fn span_of(range: &Range) -> Span {
    let (start, end) = (range.start, range.end);
    let length = if end.line() == start.line() { end.col().saturating_sub(start.col()).max(1) } else { 1 };
    Span { line: start.line().max(1), column: start.col() + 1, length }
}
