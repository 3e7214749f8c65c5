//! Universal Binary JSON, as far as XGBoost writes it: a serde deserializer over bytes.
//!
//! Format: <https://ubjson.org>, draft 12. Numbers are big-endian; arrays may say the type of all their items (`$`) and how
//! many there are (`#`). What isn't told how many ends with its closing bracket.

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

/// How deep lists and objects may lie in one another.
const DEPTH_MAX: u32 = 64;

/// Reads one value.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    T::deserialize(&mut Reader { bytes, at: 0, marker: None, depth: 0 })
}

/// What is wrong, and at which byte.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The type of the value that follows, where it was told before.
    marker: Option<u8>,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn wrong(&self, problem: &str) -> Error {
        Error(format!("{problem} at byte {}", self.at))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let taken = &self.bytes[self.at..end.ok_or_else(|| self.wrong("the file is cut off"))?];
        self.at += count;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.wrong("the file is cut off"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The type of the next value; `N` says nothing.
    fn marker(&mut self) -> Result<u8, Error> {
        if let Some(marker) = self.marker.take() {
            return Ok(marker);
        }
        loop {
            match self.fixed::<1>()?[0] {
                b'N' => {}
                marker => return Ok(marker),
            }
        }
    }

    fn integer(&mut self, marker: u8) -> Result<i64, Error> {
        Ok(match marker {
            b'i' => i8::from_be_bytes(self.fixed()?).into(),
            b'U' => self.fixed::<1>()?[0].into(),
            b'I' => i16::from_be_bytes(self.fixed()?).into(),
            b'l' => i32::from_be_bytes(self.fixed()?).into(),
            b'L' => i64::from_be_bytes(self.fixed()?),
            _ => return Err(self.wrong(&format!("no integer begins with {:?}", char::from(marker)))),
        })
    }

    fn length(&mut self) -> Result<usize, Error> {
        let marker = self.fixed::<1>()?[0];
        let length = self.integer(marker)?;
        usize::try_from(length).map_err(|_| self.wrong("a length is negative"))
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("text that is not UTF-8 ends"))
    }

    /// What a list or an object says of its items before the first one.
    fn items(&mut self) -> Result<Items<'_, 'a>, Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("lists lie too deep in one another"));
        }
        let (mut of, mut left) = (None, None);
        if self.peek() == Some(b'$') {
            self.at += 1;
            let marker = self.fixed::<1>()?[0];
            // Any number of them would take no bytes.
            if matches!(marker, b'Z' | b'T' | b'F' | b'N') {
                return Err(self.wrong("a list of one value"));
            }
            of = Some(marker);
        }
        if self.peek() == Some(b'#') {
            self.at += 1;
            left = Some(self.length()?);
        } else if of.is_some() {
            return Err(self.wrong("a list of one type without a length"));
        }
        Ok(Items { reader: self, of, left })
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.marker()? {
            b'Z' => visitor.visit_unit(),
            b'T' => visitor.visit_bool(true),
            b'F' => visitor.visit_bool(false),
            b'd' => visitor.visit_f32(f32::from_be_bytes(self.fixed()?)),
            b'D' => visitor.visit_f64(f64::from_be_bytes(self.fixed()?)),
            b'C' => visitor.visit_char(self.fixed::<1>()?[0].into()),
            b'S' => visitor.visit_borrowed_str(self.text()?),
            b'[' => visitor.visit_seq(self.items()?),
            b'{' => visitor.visit_map(self.items()?),
            marker => visitor.visit_i64(self.integer(marker)?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Items<'r, 'a> {
    reader: &'r mut Reader<'a>,
    of: Option<u8>,
    left: Option<usize>,
}

impl Items<'_, '_> {
    /// Whether there is another one; if there is none, what closes them is read.
    fn more(&mut self, close: u8) -> bool {
        let more = match &mut self.left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None if self.reader.peek() == Some(close) => {
                self.reader.at += 1;
                false
            }
            None => true,
        };
        if more {
            self.reader.marker = self.of;
        } else {
            self.reader.depth -= 1;
        }
        more
    }
}

impl<'a> SeqAccess<'a> for Items<'_, 'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.more(b']') { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}

impl<'a> MapAccess<'a> for Items<'_, 'a> {
    type Error = Error;

    fn next_key_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.more(b'}') {
            return Ok(None);
        }
        let key = self.reader.text()?;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.reader.marker = self.of;
        seed.deserialize(&mut *self.reader)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Told {
        name: String,
        weights: Vec<f32>,
        places: Vec<i32>,
        inner: Vec<Vec<u8>>,
        half: f64,
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = b"{U\x04nameSL".to_vec();
        bytes.extend(3i64.to_be_bytes());
        bytes.extend(b"one");
        bytes.extend(b"U\x07weights[$d#U\x02");
        bytes.extend(1.5f32.to_be_bytes());
        bytes.extend((-0.0f32).to_be_bytes());
        bytes.extend(b"U\x06places[i\x05l\xff\xff\xff\xfeI\x01\x00]");
        bytes.extend(b"U\x05inner[#U\x02[$U#U\x03\x01\x02\x03[]");
        bytes.extend(b"U\x07ignored{U\x01aTU\x01bZ}");
        bytes.extend(b"U\x04halfD");
        bytes.extend(0.5f64.to_be_bytes());
        bytes.push(b'}');
        bytes
    }

    #[test]
    fn every_form_that_a_model_uses_is_read() {
        let told: Told = from_slice(&bytes()).unwrap();
        let expected = Told {
            name: "one".to_owned(),
            weights: vec![1.5, -0.0],
            places: vec![5, -2, 256],
            inner: vec![vec![1, 2, 3], vec![]],
            half: 0.5,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_an_error() {
        let bytes = bytes();
        for end in 0..bytes.len() - 1 {
            assert!(from_slice::<Told>(&bytes[..end]).is_err(), "{end}");
        }
        let mut nothing = b"[$T#L".to_vec();
        nothing.extend(i64::MAX.to_be_bytes());
        assert!(from_slice::<Vec<bool>>(&nothing).unwrap_err().to_string().contains("a list of one value"));
        let endless = [b'['; 10_000];
        assert!(from_slice::<de::IgnoredAny>(&endless).unwrap_err().to_string().contains("too deep"));
    }
}
