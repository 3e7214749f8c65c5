//! Bytes of partials that are more than one value. As text, in base64: tile tables and Redis keep them as a string.
//!
//! The first byte is the version of the kind's format. Whole numbers are LEB128, signed ones zigzag.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Why a partial aggregate can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

/// Writes one partial.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn whole(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(super) fn length(&mut self, length: usize) {
        self.whole(length as u64);
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.whole(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    pub(super) fn float(&mut self, number: f64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn text(self) -> String {
        STANDARD_NO_PAD.encode(self.0)
    }
}

/// Reads one partial.
pub(super) struct Reader {
    bytes: Vec<u8>,
    at: usize,
}

impl Reader {
    /// What [`Writer::text`] gave, of a version that is known.
    pub(super) fn new(text: &str, version: u8) -> Result<Self, Damaged> {
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| Damaged("a partial aggregate is no base64"))?;
        let mut reader = Self { bytes, at: 0 };
        if reader.array::<1>()? != [version] {
            return Err(Damaged("a partial aggregate was written by another release"));
        }
        Ok(reader)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&[u8], Damaged> {
        let end = self.at.checked_add(count).ok_or(Damaged("a partial aggregate ends too early"))?;
        let bytes = self.bytes.get(self.at..end).ok_or(Damaged("a partial aggregate ends too early"))?;
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn whole(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged("a number of a partial aggregate is too long"))
    }

    pub(super) fn length(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.whole()?).map_err(|_| Damaged("a length of a partial aggregate is too large"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.whole()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn float(&mut self) -> Result<f64, Damaged> {
        self.array().map(f64::from_le_bytes)
    }

    /// Nothing may be left over.
    pub(super) fn end(self) -> Result<(), Damaged> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(Damaged("a partial aggregate has bytes left over"))
        }
    }
}
