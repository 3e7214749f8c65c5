//! The types of columns, keys and features: seven for single values, and lists of these.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The type of a column, a key or a feature. As text it is what YAML says: `int`, `decimal(12,2)`, `float[64]`,
/// `string[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Type {
    /// UTF-8 text.
    String,
    /// 64-bit signed.
    Int,
    /// 64-bit IEEE 754, finite: what is no number is missing.
    Float,
    /// True or false.
    Bool,
    /// A calendar day without a zone.
    Date,
    /// An instant, UTC, microseconds.
    Timestamp,
    /// An exact number.
    Decimal(Digits),
    /// Values of one type, in their order; none of them is missing.
    List {
        /// What they are.
        of: Element,
        /// How many there are; none: any number.
        length: Option<u32>,
    },
}

/// How many digits a decimal has: `precision` in all, 1 to 38, and `scale` of them after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digits {
    precision: u8,
    scale: u8,
}

/// What a list may hold: any type but a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the type of its name")]
pub enum Element {
    String,
    Int,
    Float,
    Bool,
    Date,
    Timestamp,
    Decimal(Digits),
}

/// Text that is no type, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoType(pub(crate) &'static str);

impl Type {
    /// Those that a word alone says.
    pub const PLAIN: [Self; 6] =
        [Self::String, Self::Int, Self::Float, Self::Bool, Self::Date, Self::Timestamp];

    /// The most values that a list of a fixed length may have.
    pub const LENGTH_MAX: u32 = 4_096;

    /// A list of so many values of a type, or of any number; none of lists.
    pub fn list(of: Self, length: Option<u32>) -> Option<Self> {
        let fits = length.is_none_or(|length| (1..=Self::LENGTH_MAX).contains(&length));
        Some(Self::List { of: of.as_element()?, length }).filter(|_| fits)
    }

    /// Whether it is a number, exact or not.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Decimal(_))
    }

    /// Of a list: what it holds.
    pub fn element(self) -> Option<Self> {
        match self {
            Self::List { of, .. } => Some(of.into()),
            _ => None,
        }
    }

    /// The type's name in DuckDB. A list of a fixed length is a list there: no `CASE` takes what DuckDB calls an array.
    pub fn duckdb(self) -> String {
        match self {
            Self::String => "VARCHAR".to_owned(),
            Self::Int => "BIGINT".to_owned(),
            Self::Float => "DOUBLE".to_owned(),
            Self::Bool => "BOOLEAN".to_owned(),
            Self::Date => "DATE".to_owned(),
            Self::Timestamp => "TIMESTAMPTZ".to_owned(),
            Self::Decimal(Digits { precision, scale }) => format!("DECIMAL({precision}, {scale})"),
            Self::List { of, .. } => format!("{}[]", Self::from(of).duckdb()),
        }
    }

    fn as_element(self) -> Option<Element> {
        Some(match self {
            Self::String => Element::String,
            Self::Int => Element::Int,
            Self::Float => Element::Float,
            Self::Bool => Element::Bool,
            Self::Date => Element::Date,
            Self::Timestamp => Element::Timestamp,
            Self::Decimal(digits) => Element::Decimal(digits),
            Self::List { .. } => return None,
        })
    }
}

impl Digits {
    /// The most that there are.
    pub const PRECISION_MAX: u8 = 38;

    /// So many in all, and so many of them after the point.
    pub const fn new(precision: u8, scale: u8) -> Option<Self> {
        let fits = precision >= 1 && precision <= Self::PRECISION_MAX && scale <= precision;
        if fits { Some(Self { precision, scale }) } else { None }
    }

    /// In all.
    pub fn precision(self) -> u8 {
        self.precision
    }

    /// After the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Those of a sum of such numbers: as many as there are.
    #[must_use]
    pub fn of_sum(self) -> Self {
        Self { precision: Self::PRECISION_MAX, ..self }
    }
}

impl From<Element> for Type {
    fn from(element: Element) -> Self {
        match element {
            Element::String => Self::String,
            Element::Int => Self::Int,
            Element::Float => Self::Float,
            Element::Bool => Self::Bool,
            Element::Date => Self::Date,
            Element::Timestamp => Self::Timestamp,
            Element::Decimal(digits) => Self::Decimal(digits),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.pad("string"),
            Self::Int => f.pad("int"),
            Self::Float => f.pad("float"),
            Self::Bool => f.pad("bool"),
            Self::Date => f.pad("date"),
            Self::Timestamp => f.pad("timestamp"),
            Self::Decimal(Digits { precision, scale }) => f.pad(&format!("decimal({precision},{scale})")),
            Self::List { of, length: None } => f.pad(&format!("{}[]", Self::from(*of))),
            Self::List { of, length: Some(length) } => f.pad(&format!("{}[{length}]", Self::from(*of))),
        }
    }
}

impl FromStr for Type {
    type Err = NoType;

    fn from_str(text: &str) -> Result<Self, NoType> {
        if let Some((of, length)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
            let length = match length {
                "" => None,
                digits => Some(number(digits).ok_or(NoType(LENGTH))?),
            };
            let of: Self = of.parse()?;
            of.as_element().ok_or(NoType("a list holds no lists"))?;
            return Self::list(of, length).ok_or(NoType(LENGTH));
        }
        if let Some(digits) = text.strip_prefix("decimal") {
            return digits_of(digits).map(Self::Decimal).ok_or(NoType(DIGITS));
        }
        let plain = Self::PLAIN.into_iter().find(|ty| ty.to_string() == text);
        plain.ok_or(NoType("there is no such type"))
    }
}

const LENGTH: &str = "a list has from 1 to 4,096 values, as in `float[64]`, or any number, as in `string[]`";
const DIGITS: &str = "a decimal has 1 to 38 digits, and no more after the point, as in `decimal(12,2)`";

/// `(12,2)`, also with a space after the comma.
fn digits_of(text: &str) -> Option<Digits> {
    let (precision, scale) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Digits::new(number(precision)?, number(scale.strip_prefix(' ').unwrap_or(scale))?)
}

fn number<N: FromStr>(digits: &str) -> Option<N> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl TryFrom<String> for Type {
    type Error = NoType;

    fn try_from(text: String) -> Result<Self, NoType> {
        text.parse()
    }
}

impl From<Type> for String {
    fn from(ty: Type) -> Self {
        ty.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_as_it_is_written() {
        for text in [
            "string",
            "int",
            "float",
            "bool",
            "date",
            "timestamp",
            "decimal(1,0)",
            "decimal(38,38)",
            "float[64]",
            "float[4096]",
            "string[]",
            "timestamp[3]",
            "decimal(12,2)[]",
        ] {
            let ty: Type = text.parse().unwrap();
            assert_eq!(ty.to_string(), text);
            assert_eq!(serde_json::to_value(ty).unwrap(), text);
            assert_eq!(serde_json::from_value::<Type>(text.into()).unwrap(), ty);
        }
        assert_eq!("decimal(12, 2)".parse::<Type>().unwrap().to_string(), "decimal(12,2)");
    }

    #[test]
    fn what_is_no_type_says_why() {
        for (text, why) in [
            ("text", "there is no such type"),
            ("decimal", DIGITS),
            ("decimal(0,0)", DIGITS),
            ("decimal(39,2)", DIGITS),
            ("decimal(4,5)", DIGITS),
            ("decimal(+4,2)", DIGITS),
            ("float[0]", LENGTH),
            ("float[4097]", LENGTH),
            ("float[-1]", LENGTH),
            ("float[][]", "a list holds no lists"),
            ("[]", "there is no such type"),
        ] {
            assert_eq!(text.parse::<Type>(), Err(NoType(why)), "{text}");
        }
    }
}
