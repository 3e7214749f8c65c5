//! Tensors: datatypes, and elements read from JSON or bytes, and written as both.
//!
//! What is given is kept as JSON values, which columns of any declared type are read from. NaN is a missing value, for
//! tensors have no nulls; where they come as JSON, null is one as well.

use serde_json::Value as Json;

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

const NAMES: [(&str, Datatype); 13] = [
    ("BOOL", Datatype::Bool),
    ("UINT8", Datatype::Uint8),
    ("UINT16", Datatype::Uint16),
    ("UINT32", Datatype::Uint32),
    ("UINT64", Datatype::Uint64),
    ("INT8", Datatype::Int8),
    ("INT16", Datatype::Int16),
    ("INT32", Datatype::Int32),
    ("INT64", Datatype::Int64),
    ("FP16", Datatype::Fp16),
    ("FP32", Datatype::Fp32),
    ("FP64", Datatype::Fp64),
    ("BYTES", Datatype::Bytes),
];

impl Datatype {
    fn read(name: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, datatype)| *datatype);
        let names = || NAMES.map(|(name, _)| name).join(", ");
        known.ok_or_else(|| format!("datatype `{name}` is not known; there are {}", names()))
    }

    fn name(self) -> &'static str {
        NAMES.iter().find(|(_, datatype)| *datatype == self).map_or("", |(name, _)| name)
    }

    /// The least and the greatest whole number; none for what holds no whole numbers.
    fn range(self) -> Option<(i128, i128)> {
        let (least, greatest) = match self {
            Self::Uint8 => (0, u8::MAX.into()),
            Self::Uint16 => (0, u16::MAX.into()),
            Self::Uint32 => (0, u32::MAX.into()),
            Self::Uint64 => (0, u64::MAX.into()),
            Self::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Self::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Self::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Self::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Self::Bool | Self::Fp16 | Self::Fp32 | Self::Fp64 | Self::Bytes => return None,
        };
        Some((least, greatest))
    }

    /// Whether a JSON value is an element of this datatype; null is one of any.
    fn holds(self, value: &Json) -> bool {
        let whole = |value: &Json| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
        match (self, self.range()) {
            _ if value.is_null() => true,
            (_, Some((least, greatest))) => whole(value).is_some_and(|it| (least..=greatest).contains(&it)),
            (Self::Bool, None) => value.is_boolean(),
            (Self::Bytes, None) => value.is_string(),
            (_, None) => value.is_number(),
        }
    }
}

/// What a tensor says of itself, before its elements.
#[derive(Debug)]
pub(super) struct Head {
    name: String,
    datatype: Datatype,
    shape: Vec<usize>,
    count: usize,
}

impl Head {
    /// Reads name, datatype and shape.
    pub(super) fn read(name: &str, datatype: &str, shape: &[i64]) -> Result<Self, String> {
        let wrong = |problem: String| format!("input `{name}`: {problem}");
        let datatype = Datatype::read(datatype).map_err(wrong)?;
        let sizes: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
        let sizes = sizes.filter(|sizes| !sizes.is_empty());
        let counted = sizes.and_then(|sizes| {
            let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))?;
            Some((sizes, count))
        });
        let (shape, count) = counted.ok_or_else(|| {
            wrong(format!(
                "shape {shape:?} is none; give how many rows, and for lists how many values each has"
            ))
        })?;
        Ok(Self { name: name.to_owned(), datatype, shape, count })
    }

    pub(super) fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// With elements as JSON: one list, or lists in lists.
    pub(super) fn json(self, data: Json) -> Result<Given, String> {
        let mut flat = Vec::new();
        if flatten(data, &mut flat).is_none() {
            let name = &self.name;
            return Err(format!("input `{name}`: the lists in `data` are not of one length and depth"));
        }
        self.with(flat)
    }

    /// With elements as they are.
    pub(super) fn with(self, values: Vec<Json>) -> Result<Given, String> {
        let Self { name, datatype, shape, count } = self;
        if values.len() != count {
            return Err(format!(
                "input `{name}`: shape {shape:?} is {count} elements, but there are {}",
                values.len()
            ));
        }
        if let Some((place, value)) = values.iter().enumerate().find(|(_, value)| !datatype.holds(value)) {
            let (value, datatype) = (shortened(value), datatype.name());
            return Err(format!("input `{name}`, element {place}: {value} is no {datatype}"));
        }
        Ok(Given { name, shape, values })
    }

    /// With elements as little-endian bytes; text as its length in four bytes, and itself.
    pub(super) fn raw(self, bytes: &[u8]) -> Result<Given, String> {
        let values = match self.datatype {
            Datatype::Bool => fixed(bytes, |[byte]: [u8; 1]| Ok((byte != 0).into())),
            Datatype::Uint8 => fixed(bytes, |[byte]: [u8; 1]| Ok(byte.into())),
            Datatype::Uint16 => fixed(bytes, |bytes| Ok(u16::from_le_bytes(bytes).into())),
            Datatype::Uint32 => fixed(bytes, |bytes| Ok(u32::from_le_bytes(bytes).into())),
            Datatype::Uint64 => fixed(bytes, |bytes| Ok(u64::from_le_bytes(bytes).into())),
            Datatype::Int8 => fixed(bytes, |bytes| Ok(i8::from_le_bytes(bytes).into())),
            Datatype::Int16 => fixed(bytes, |bytes| Ok(i16::from_le_bytes(bytes).into())),
            Datatype::Int32 => fixed(bytes, |bytes| Ok(i32::from_le_bytes(bytes).into())),
            Datatype::Int64 => fixed(bytes, |bytes| Ok(i64::from_le_bytes(bytes).into())),
            Datatype::Fp16 => fixed(bytes, |bytes| number(half(u16::from_le_bytes(bytes)))),
            Datatype::Fp32 => fixed(bytes, |bytes| number(f32::from_le_bytes(bytes).into())),
            Datatype::Fp64 => fixed(bytes, |bytes| number(f64::from_le_bytes(bytes))),
            Datatype::Bytes => texts(bytes),
        };
        let values = values.map_err(|problem| format!("input `{}`: {problem}", self.name))?;
        self.with(values)
    }
}

/// A number that a column may hold: NaN is a missing value.
pub(super) fn number(number: f64) -> Result<Json, String> {
    if number.is_infinite() {
        return Err(format!("{number} is not a finite number"));
    }
    // JSON has no NaN: it makes null of it.
    Ok(number.into())
}

/// Text that a column may hold.
pub(super) fn text(bytes: &[u8]) -> Result<Json, String> {
    let text = str::from_utf8(bytes).map_err(|_| "an element of BYTES is not UTF-8 text".to_owned())?;
    Ok(text.into())
}

fn fixed<const N: usize>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> Result<Json, String>,
) -> Result<Vec<Json>, String> {
    let (elements, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole number of elements of {N} bytes", bytes.len()));
    }
    elements.iter().map(|element| read(*element)).collect()
}

fn texts(mut bytes: &[u8]) -> Result<Vec<Json>, String> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let short = || format!("element {} of BYTES is cut off", values.len());
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= rest.len());
        let (element, rest) = rest.split_at(length.ok_or_else(short)?);
        values.push(text(element)?);
        bytes = rest;
    }
    Ok(values)
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// Puts the elements behind `flat`. The shape that the lists have; none if they are ragged.
fn flatten(data: Json, flat: &mut Vec<Json>) -> Option<Vec<usize>> {
    let Json::Array(items) = data else {
        flat.push(data);
        return Some(Vec::new());
    };
    let mut shape = vec![items.len()];
    let mut inner: Option<Vec<usize>> = None;
    for item in items {
        let own = flatten(item, flat)?;
        if *inner.get_or_insert_with(|| own.clone()) != own {
            return None;
        }
    }
    shape.extend(inner.unwrap_or_default());
    Some(shape)
}

/// A value for a message.
pub(super) fn shortened(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 40;

/// A tensor that was given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) name: String,
    shape: Vec<usize>,
    /// Row-major, as many as the shape says.
    values: Vec<Json>,
}

impl Given {
    /// The first number of its shape.
    pub(super) fn rows(&self) -> usize {
        self.shape[0]
    }

    /// One value for each row.
    pub(super) fn scalars(&self) -> Result<Vec<Json>, String> {
        if self.values.len() == self.rows() {
            return Ok(self.values.clone());
        }
        let (name, rows, shape) = (&self.name, self.rows(), &self.shape);
        Err(format!(
            "input `{name}` has shape {shape:?}; a column of one value a row is [{rows}] or [{rows}, 1]"
        ))
    }

    /// One list for each row.
    pub(super) fn lists(&self) -> Result<Vec<Json>, String> {
        let [rows, width] = self.shape[..] else {
            let (name, rows, shape) = (&self.name, self.rows(), &self.shape);
            return Err(format!("input `{name}` has shape {shape:?}; a column of lists is [{rows}, LENGTH]"));
        };
        Ok((0..rows).map(|row| Json::from(&self.values[row * width..(row + 1) * width])).collect())
    }
}

/// A tensor of an answer.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) name: String,
    /// How many values each row has; none: one, and the shape has no number for it.
    pub(super) width: Option<usize>,
    pub(super) elements: Elements,
}

/// Elements of an answer, row-major.
#[derive(Clone, Debug)]
pub(super) enum Elements {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<String>),
}

impl Told {
    pub(super) fn datatype(&self) -> &'static str {
        let datatype = match self.elements {
            Elements::Bool(_) => Datatype::Bool,
            Elements::Int(_) => Datatype::Int64,
            Elements::Float(_) => Datatype::Fp64,
            Elements::Text(_) => Datatype::Bytes,
        };
        datatype.name()
    }

    /// How many rows, and how many values each has where those are not one.
    pub(super) fn shape(&self) -> Vec<i64> {
        let count = match &self.elements {
            Elements::Bool(values) => values.len(),
            Elements::Int(values) => values.len(),
            Elements::Float(values) => values.len(),
            Elements::Text(values) => values.len(),
        };
        let sizes = [Some(count / self.width.unwrap_or(1).max(1)), self.width];
        sizes.into_iter().flatten().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
    }

    /// Its elements as one JSON list; a float that is missing is null.
    pub(super) fn json(&self) -> Json {
        match &self.elements {
            Elements::Bool(values) => values.as_slice().into(),
            Elements::Int(values) => values.as_slice().into(),
            Elements::Float(values) => values.as_slice().into(),
            Elements::Text(values) => values.as_slice().into(),
        }
    }

    /// Its elements as little-endian bytes; text as its length in four bytes, and itself.
    pub(super) fn raw(&self) -> Vec<u8> {
        match &self.elements {
            Elements::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
            Elements::Int(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Elements::Float(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Elements::Text(values) => {
                let text = |value: &String| {
                    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
                    [&length.to_le_bytes(), value.as_bytes()].concat()
                };
                values.iter().flat_map(text).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(datatype: &str, shape: &[i64], bytes: &[u8]) -> Result<Vec<Json>, String> {
        Head::read("x", datatype, shape)?.raw(bytes).map(|given| given.values)
    }

    #[test]
    fn bytes_are_read_by_their_datatype() {
        assert_eq!(raw("BOOL", &[2], &[0, 1]), Ok(vec![json!(false), json!(true)]));
        assert_eq!(raw("UINT8", &[2], &[0, 255]), Ok(vec![json!(0), json!(255)]));
        assert_eq!(raw("INT8", &[1], &[255]), Ok(vec![json!(-1)]));
        assert_eq!(raw("INT32", &[1, 1], &(-7_i32).to_le_bytes()), Ok(vec![json!(-7)]));
        assert_eq!(raw("UINT64", &[1], &u64::MAX.to_le_bytes()), Ok(vec![json!(u64::MAX)]));
        assert_eq!(raw("FP32", &[1], &0.1_f32.to_le_bytes()), Ok(vec![json!(f64::from(0.1_f32))]));
        assert_eq!(raw("FP64", &[1], &f64::NAN.to_le_bytes()), Ok(vec![Json::Null]));
        assert_eq!(raw("BYTES", &[2], b"\x02\0\0\0UA\0\0\0\0"), Ok(vec![json!("UA"), json!("")]));
    }

    #[test]
    fn half_floats_are_exact() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 2f64.powi(-24)),
            (0x7bff, 65504.0),
        ];
        for (bits, number) in cases {
            assert_eq!(half(bits).to_bits(), f64::to_bits(number), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan() && half(0x7c00).is_infinite());
        assert_eq!(half(0x8000).to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn what_is_no_tensor_is_told() {
        let cases = [
            (raw("FP8", &[1], &[0]), "input `x`: datatype `FP8` is not known; there are BOOL, UINT8"),
            (raw("FP64", &[], &[]), "input `x`: shape [] is none"),
            (raw("FP64", &[-1], &[]), "input `x`: shape [-1] is none"),
            (raw("FP64", &[i64::MAX, 4], &[]), "input `x`: shape [9223372036854775807, 4] is none"),
            (raw("FP64", &[1], &[0; 9]), "input `x`: 9 bytes are no whole number of elements of 8 bytes"),
            (raw("FP64", &[2], &[0; 8]), "input `x`: shape [2] is 2 elements, but there are 1"),
            (raw("FP64", &[1], &f64::INFINITY.to_le_bytes()), "input `x`: inf is not a finite number"),
            (raw("BYTES", &[1], b"\x05\0\0\0UA"), "input `x`: element 0 of BYTES is cut off"),
            (raw("BYTES", &[1], b"\x01\0\0\0\xff"), "input `x`: an element of BYTES is not UTF-8 text"),
        ];
        for (got, expected) in cases {
            assert!(got.clone().unwrap_err().starts_with(expected), "{got:?}");
        }
    }

    #[test]
    fn json_is_flat_or_nested_and_of_its_datatype() {
        let read = |datatype, shape: &[i64], data| Head::read("x", datatype, shape).unwrap().json(data);
        let given = read("INT64", &[2, 2], json!([[1, 2], [3, 4]])).unwrap();
        assert_eq!(given.lists(), Ok(vec![json!([1, 2]), json!([3, 4])]));
        assert_eq!(
            given.scalars().unwrap_err(),
            "input `x` has shape [2, 2]; a column of one value a row is [2] or [2, 1]"
        );
        for ragged in [json!([[1, 2], [3]]), json!([1, [2, 3]]), json!([[], [1, 2, 3]])] {
            let told = read("INT64", &[3], ragged).unwrap_err();
            assert_eq!(told, "input `x`: the lists in `data` are not of one length and depth");
        }
        let told = read("INT64", &[1], json!("é".repeat(100))).unwrap_err();
        assert_eq!(told, format!("input `x`, element 0: \"{}… is no INT64", "é".repeat(39)));
        let given = read("BYTES", &[2, 1], json!(["UA", null])).unwrap();
        assert_eq!(given.scalars(), Ok(vec![json!("UA"), Json::Null]));
        for (datatype, value) in
            [("UINT8", json!(256)), ("INT64", json!(1.5)), ("BOOL", json!(1)), ("BYTES", json!(1))]
        {
            let told = format!("input `x`, element 0: {value} is no {datatype}");
            assert_eq!(read(datatype, &[1], value).unwrap_err(), told);
        }
    }

    #[test]
    fn what_is_told_is_read_again() {
        let elements = [
            Elements::Bool(vec![true, false]),
            Elements::Int(vec![-1, 7]),
            Elements::Float(vec![0.1, 2.0]),
            Elements::Text(vec!["UA".to_owned(), String::new()]),
        ];
        for elements in elements {
            let told = Told { name: "x".to_owned(), width: None, elements };
            let again = Head::read("x", told.datatype(), &told.shape()).unwrap().raw(&told.raw()).unwrap();
            assert_eq!(Json::from(again.values), told.json());
        }
        let wide = Told { name: "x".to_owned(), width: Some(3), elements: Elements::Float(vec![0.0; 6]) };
        assert_eq!(wide.shape(), [2, 3]);
    }
}
