//! A view version as readers and writers of Redis need it, and the layout of what it stores.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_spec::{Feature, FeatureView, OnlineFeatures, Rule, Type};
use tidemill_windows::Window;

use crate::{codec::Reason, error::Error, order::Order};

/// One version of an online view: its definition, and the layout that follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Declared", into = "Declared")]
pub struct OnlineView {
    version: u32,
    keys: IndexMap<String, Type>,
    definition: FeatureView,
    upserts: bool,
    layout: Layout,
    layout_id: u32,
}

/// What is published of it; the layout is derived, never stored.
#[derive(Serialize, Deserialize)]
struct Declared {
    version: u32,
    keys: IndexMap<String, Type>,
    definition: FeatureView,
    #[serde(default)]
    upserts: bool,
}

impl OnlineView {
    /// `keys`: the key columns of the view's entity, in declared order. `upserts`: it is a row view over a source
    /// whose rows replace each other by their `unique` columns.
    pub fn new(definition: FeatureView, version: u32, keys: IndexMap<String, Type>, upserts: bool) -> Self {
        let layout = Layout::of(&definition);
        let layout_id = layout.id(upserts);
        Self { version, keys, definition, upserts, layout, layout_id }
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Which version of it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Key columns of its entity, in declared order.
    pub fn keys(&self) -> &IndexMap<String, Type> {
        &self.keys
    }

    /// What was declared.
    pub fn definition(&self) -> &FeatureView {
        &self.definition
    }

    /// Whether an older row can become the newest again, because the one after it was withdrawn: its values are then
    /// ordered by when they were computed, as tiles are, not by their rows' places.
    pub fn upserts(&self) -> bool {
        self.upserts
    }

    /// Whether it holds nothing and is computed whenever it is asked.
    pub fn derived(&self) -> bool {
        !self.definition.kind().stored()
    }

    /// What one value in Redis holds.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Names the layout within the bytes of a value: bytes written with another are unreadable, never misread.
    pub(crate) fn layout_id(&self) -> u32 {
        self.layout_id
    }

    /// Bytes of a value that can't be read.
    pub(crate) fn unreadable(&self, reason: Reason) -> Error {
        Error::Unreadable { view: self.name().to_owned(), version: self.version, reason }
    }

    /// When the row behind a stored value became known; `None` for a time that no clock shows.
    pub(crate) fn valid_at(&self, order: Order) -> Option<Time> {
        Time::from_timestamp_micros(if self.upserts { order.third } else { order.first })
    }

    /// Its online features in declared order.
    pub fn features(&self) -> impl Iterator<Item = (&str, &Feature)> {
        online_features(&self.definition)
    }
}

impl From<Declared> for OnlineView {
    fn from(declared: Declared) -> Self {
        Self::new(declared.definition, declared.version, declared.keys, declared.upserts)
    }
}

impl From<OnlineView> for Declared {
    fn from(view: OnlineView) -> Self {
        let OnlineView { version, keys, definition, upserts, .. } = view;
        Self { version, keys, definition, upserts }
    }
}

/// The features that a view keeps online, in declared order.
pub fn online_features(view: &FeatureView) -> impl Iterator<Item = (&str, &Feature)> {
    view.features
        .iter()
        .filter(|(name, _)| match &view.online {
            OnlineFeatures::None => false,
            OnlineFeatures::All => true,
            OnlineFeatures::Some(listed) => listed.contains(name),
        })
        .map(|(name, feature)| (name.as_str(), feature))
}

/// What one value in Redis holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// The newest row: these columns. Ages are not stored, they follow from the order.
    Row(Vec<(String, Type)>),
    /// Tiles: one series for each hop that the view's windows use, shortest first.
    Tiles(Vec<SeriesLayout>),
}

/// The windows of a view that share a hop.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesLayout {
    /// Length of a tile.
    pub hop: Duration,
    /// The longest window over these tiles; older tiles need not be kept.
    pub longest: Window,
    /// One partial aggregate for each: feature, and type of the partial's value if it has one.
    pub features: Vec<(String, Option<Type>)>,
}

impl Layout {
    fn of(view: &FeatureView) -> Self {
        let mut series: Vec<SeriesLayout> = Vec::new();
        let mut columns = Vec::new();
        for (name, feature) in online_features(view) {
            match &feature.rule {
                Rule::Age => {}
                Rule::Last(_) | Rule::Sql(_) | Rule::Python => columns.push((name.to_owned(), feature.ty)),
                Rule::Window { hop, .. } => {
                    let Some(window) = Window::of(feature) else { continue };
                    let partial = (name.to_owned(), window.partial_type());
                    match series.iter_mut().find(|series| series.hop == *hop) {
                        Some(series) => {
                            if window.length_us() > series.longest.length_us() {
                                series.longest = window;
                            }
                            series.features.push(partial);
                        }
                        None => {
                            series.push(SeriesLayout { hop: *hop, longest: window, features: vec![partial] });
                        }
                    }
                }
            }
        }
        if series.is_empty() {
            return Self::Row(columns);
        }
        series.sort_by_key(|series| series.hop);
        Self::Tiles(series)
    }

    fn id(&self, upserts: bool) -> u32 {
        let mut words: Vec<String> = match self {
            Self::Row(columns) => columns.iter().map(|(name, ty)| format!("{name}:{ty}")).collect(),
            // A value without orders of its tiles, as earlier releases wrote it, is of another layout.
            Self::Tiles(series) => {
                series.iter().map(SeriesLayout::words).chain(["tile by tile".to_owned()]).collect()
            }
        };
        words.extend(upserts.then(|| "by computation".to_owned()));
        // FNV-1a: the same in every process and release, unlike the standard library's hasher.
        words
            .join(",")
            .bytes()
            .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

impl SeriesLayout {
    /// The first tile that a window which ends at a moment, or later, may need.
    pub(crate) fn first_tile(&self, at: Time) -> i64 {
        *self.longest.tiles(at.timestamp_micros()).start()
    }

    fn words(&self) -> String {
        let features: Vec<String> = self
            .features
            .iter()
            .map(|(name, ty)| match ty {
                None => name.clone(),
                Some(ty) => format!("{name}:{ty}"),
            })
            .collect();
        format!("{}[{}]", self.hop.as_micros(), features.join(","))
    }
}
