//! A file as it was sent, made the plain text that its rows are split from.
//!
//! Jobs read parts of a file, and there is no reading from the middle of what is encoded: so it is decoded once, as a
//! whole, when it is accepted. What is plain already is not copied.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use encoding_rs::{DecoderResult, UTF_16LE, WINDOWS_1252};
use tempfile::NamedTempFile;
use tidemill_catalog::Format;
use tidemill_spec::{Encoding, Source};

use crate::{Error, Limits};

/// Where the plain bytes of a file lie on the object store: under the file's own hash, and apart from those that another
/// source makes of it.
pub(crate) fn place(sha256: &str, format: Format, source: &Source) -> String {
    match encoding(format, source) {
        Encoding::Utf8 => format!("uploads/{sha256}"),
        other => format!("uploads/{sha256}.{}", other.as_str()),
    }
}

/// How the characters of a file are bytes.
pub(crate) fn encoding(format: Format, source: &Source) -> Encoding {
    if format == Format::Csv { source.csv.encoding } else { Encoding::Utf8 }
}

/// The plain text of a file; none where it is that itself.
pub(crate) fn plain(
    path: &Path,
    format: Format,
    source: &Source,
    limits: &Limits,
) -> Result<Option<NamedTempFile>, Error> {
    let mut decoder = match encoding(format, source) {
        Encoding::Utf8 => return Ok(None),
        // Either begins with the marks of its byte order, which the decoder heeds.
        Encoding::Utf16 => UTF_16LE.new_decoder(),
        Encoding::Windows1252 => WINDOWS_1252.new_decoder(),
    };
    let mut out = Out { file: NamedTempFile::new()?, bytes: 0, bytes_max: limits.file_bytes };
    let mut file = File::open(path)?;
    let (mut bytes, mut text) = (vec![0; BLOCK_BYTES], vec![0; 4 * BLOCK_BYTES]);
    loop {
        let read = file.read(&mut bytes)?;
        let mut at = 0;
        loop {
            let (result, taken, made) =
                decoder.decode_to_utf8_without_replacement(&bytes[at..read], &mut text, read == 0);
            at += taken;
            out.write(&text[..made])?;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => out.write(NO_TEXT)?,
            }
        }
        if read == 0 {
            return Ok(Some(out.file));
        }
    }
}

const BLOCK_BYTES: usize = 64 << 10;
/// Stands for what is no character: no UTF-8, so that its row is refused as one that isn't.
const NO_TEXT: &[u8] = b"\xff";

/// Plain text that is written.
struct Out {
    file: NamedTempFile,
    bytes: u64,
    bytes_max: u64,
}

impl Out {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            let max = self.bytes_max;
            return Err(Error::Limit(format!(
                "the file has more than {max} bytes of text, which is the most that is accepted"
            )));
        }
        Ok(self.file.write_all(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut source: Source = serde_json::from_value(serde_json::json!({
            "name": "s", "meta": {}, "event_time": "at", "available_time": "at", "columns": {},
        }))
        .unwrap();
        source.csv.encoding = encoding;
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let limits = Limits { file_bytes: 300 << 10, ..Limits::default() };
        let plain = plain(file.path(), Format::Csv, &source, &limits)?;
        Ok(plain.map_or_else(|| bytes.to_vec(), |plain| std::fs::read(plain.path()).unwrap()))
    }

    proptest! {
        #[test]
        fn text_of_any_encoding_is_the_text(text in any::<String>(), pad in 0..3_usize) {
            // Characters lie across the blocks in which a file is read.
            let text = format!("a{}{text}", "é".repeat(pad * BLOCK_BYTES / 2));
            let units = || text.encode_utf16();
            let le: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            let be: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            for bytes in [le.clone(), [b"\xff\xfe".to_vec(), le].concat(), [b"\xfe\xff".to_vec(), be].concat()] {
                prop_assert_eq!(decoded(Encoding::Utf16, &bytes).unwrap(), text.as_bytes());
            }
            // Above the control characters the bytes of Latin-1 are the characters of these numbers.
            let western: Vec<u8> = text.bytes().map(|byte| if byte < 0x80 { byte } else { byte | 0xa0 }).collect();
            let expected: String = western.iter().map(|byte| char::from(*byte)).collect();
            prop_assert_eq!(decoded(Encoding::Windows1252, &western).unwrap(), expected.into_bytes());
        }
    }

    #[test]
    fn what_is_no_character_is_no_text_and_the_rest_stays() {
        assert_eq!(decoded(Encoding::Utf16, b"a\0\x00\xd8b\0c").unwrap(), b"a\xffb\xff");
        assert_eq!(decoded(Encoding::Windows1252, b"5 \x80").unwrap(), "5 €".as_bytes());
        assert_eq!(decoded(Encoding::Utf8, b"\xff\xfe").unwrap(), b"\xff\xfe");
    }

    #[test]
    fn text_that_grows_beyond_what_a_file_may_have_is_refused() {
        let error = decoded(Encoding::Windows1252, &[0xe9; 200 << 10]).unwrap_err();
        assert!(error.to_string().contains("more than 307200 bytes of text"), "{error}");
    }
}
