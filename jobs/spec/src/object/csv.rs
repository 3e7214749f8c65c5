//! How the CSV files of a source are written, where that is not the usual way.

use serde::{Deserialize, Serialize};

/// How CSV files are written. What is left out is as in RFC 4180: commas, double quotes, decimal points, UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Csv {
    /// Stands between fields; an ASCII character.
    pub delimiter: char,
    /// Stands around fields that hold delimiters or line ends; an ASCII character.
    pub quote: char,
    /// Ends a row.
    pub line_end: LineEnd,
    /// Stands before the decimals of a number.
    pub decimal: DecimalMark,
    /// How characters are bytes.
    pub encoding: Encoding,
    /// Words for null, of text too; none: the usual ones, which are no words for null in text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null: Option<Vec<String>>,
    /// How dates are written, as strftime has it; none: as `2024-05-02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_format: Option<String>,
    /// How timestamps are written, as strftime has it; none: as `2024-05-02T10:00:00Z` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: ',',
            quote: '"',
            line_end: LineEnd::default(),
            decimal: DecimalMark::default(),
            encoding: Encoding::default(),
            null: None,
            date_format: None,
            timestamp_format: None,
        }
    }
}

impl Csv {
    /// Whether nothing of it is declared.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What ends a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineEnd {
    /// A line feed, with or without a carriage return before it.
    #[default]
    Lf,
    /// A carriage return alone.
    Cr,
}

/// What stands before the decimals of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecimalMark {
    /// As in `1.5`.
    #[default]
    #[serde(rename = ".")]
    Point,
    /// As in `1,5`.
    #[serde(rename = ",")]
    Comma,
}

/// How characters are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16 of either byte order, which the first two bytes say; else little-endian.
    #[serde(rename = "utf-16")]
    Utf16,
    /// Windows code page 1252, which holds Latin-1.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl Encoding {
    /// The word that YAML uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
            Self::Windows1252 => "windows-1252",
        }
    }
}
