//! A file as it was sent, made the plain text that its rows are split from: unpacked, and in UTF-8.
//!
//! Jobs read parts of a file, and there is no reading from the middle of what is packed or encoded: so it is made plain
//! once, as a whole, when it is accepted. What is plain already is not copied.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, Write},
    path::Path,
};

use encoding_rs::{Decoder, DecoderResult, UTF_16LE, WINDOWS_1252};
use flate2::bufread::MultiGzDecoder;
use tempfile::NamedTempFile;
use tidemill_catalog::{Format, Upload};
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

/// Where the file of an upload lies on the object store.
pub fn kept_at(upload: &Upload) -> String {
    place(&upload.sha256, upload.format, &upload.definition)
}

/// How the characters of a file are bytes.
pub(crate) fn encoding(format: Format, source: &Source) -> Encoding {
    if format == Format::Csv { source.csv.encoding } else { Encoding::Utf8 }
}

/// The plain text of a file; none where it is that itself.
///
/// # Errors
/// When it can't be unpacked, or has more text than a file may have: what is small as it is sent may be endless.
pub(crate) fn plain(
    path: &Path,
    format: Format,
    source: &Source,
    limits: &Limits,
) -> Result<Option<NamedTempFile>, Error> {
    if format == Format::Parquet {
        return Ok(None);
    }
    let (packing, mut bytes) = unpacked(File::open(path)?)?;
    let mut decoder = decoder(encoding(format, source));
    if packing.is_none() && decoder.is_none() {
        return Ok(None);
    }
    let mut out = Out { to: NamedTempFile::new()?, bytes: 0, bytes_max: limits.file_bytes };
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = bytes.read(&mut block).map_err(|error| unreadable(error, format, packing))?;
        match &mut decoder {
            Some(decoder) => decode(decoder, &block[..read], &mut out)?,
            None => out.write(&block[..read])?,
        }
        if read == 0 {
            return Ok(Some(out.to));
        }
    }
}

const BLOCK_BYTES: usize = 64 << 10;

/// What a file is packed with, told by its first bytes, and its bytes without that.
pub(crate) fn unpacked(mut file: File) -> io::Result<(Option<&'static str>, Box<dyn Read>)> {
    let mut first = Vec::new();
    (&file).take(4).read_to_end(&mut first)?;
    file.rewind()?;
    let file = BufReader::new(file);
    Ok(match *first {
        [0x1f, 0x8b, ..] => (Some("gzip"), Box::new(MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => (Some("zstd"), Box::new(zstd::stream::read::Decoder::with_buffer(file)?)),
        _ => (None, Box::new(file)),
    })
}

/// A disk that fails is the platform's fault; what fails without one is the file's.
fn unreadable(error: io::Error, format: Format, packing: Option<&str>) -> Error {
    match packing {
        Some(packing) if error.raw_os_error().is_none() => {
            Error::Unreadable { format, reason: format!("its {packing} data is damaged or cut off: {error}") }
        }
        _ => error.into(),
    }
}

fn decoder(encoding: Encoding) -> Option<Decoder> {
    match encoding {
        Encoding::Utf8 => None,
        // Either begins with the mark of its byte order, which the decoder heeds.
        Encoding::Utf16 => Some(UTF_16LE.new_decoder()),
        Encoding::Windows1252 => Some(WINDOWS_1252.new_decoder()),
    }
}

/// Stands for what is no character: no UTF-8, so that its row is refused as one that isn't.
const NO_TEXT: &[u8] = b"\xff";

/// The first bytes of a file in UTF-8.
pub(crate) fn decoded(bytes: &[u8], encoding: Encoding) -> Result<Vec<u8>, Error> {
    let Some(mut decoder) = decoder(encoding) else { return Ok(bytes.to_vec()) };
    let mut out = Out { to: Vec::new(), bytes: 0, bytes_max: u64::MAX };
    decode(&mut decoder, bytes, &mut out)?;
    Ok(out.to)
}

/// Decodes the next bytes of a file; none are its end.
fn decode<W: Write>(decoder: &mut Decoder, mut bytes: &[u8], out: &mut Out<W>) -> Result<(), Error> {
    let last = bytes.is_empty();
    let mut text = vec![0; BLOCK_BYTES];
    loop {
        let (result, taken, made) = decoder.decode_to_utf8_without_replacement(bytes, &mut text, last);
        bytes = &bytes[taken..];
        out.write(&text[..made])?;
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => out.write(NO_TEXT)?,
        }
    }
}

/// Plain text that is written.
struct Out<W> {
    to: W,
    bytes: u64,
    bytes_max: u64,
}

impl<W: Write> Out<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            let max = self.bytes_max;
            return Err(Error::Limit(format!(
                "unpacked, the file has more than {max} bytes, the most that are accepted"
            )));
        }
        Ok(self.to.write_all(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const FILE_BYTES: u64 = 300 << 10;

    fn made_plain(encoding: Encoding, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut source: Source = serde_json::from_value(serde_json::json!({
            "name": "s", "meta": {}, "event_time": "at", "available_time": "at", "columns": {},
        }))
        .unwrap();
        source.csv.encoding = encoding;
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let limits = Limits { file_bytes: FILE_BYTES, ..Limits::default() };
        let plain = plain(file.path(), Format::Csv, &source, &limits)?;
        Ok(plain.map_or_else(|| bytes.to_vec(), |plain| std::fs::read(plain.path()).unwrap()))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 0).unwrap()
    }

    proptest! {
        #[test]
        fn text_of_any_encoding_and_packing_is_the_text(text in any::<String>(), pad in 0..3_usize) {
            // Characters lie across the blocks in which a file is read.
            let text = format!("a{}{text}", "é".repeat(pad * BLOCK_BYTES / 2));
            let units = || text.encode_utf16();
            let le: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            let be: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            for bytes in [le.clone(), [b"\xff\xfe".to_vec(), le].concat(), [b"\xfe\xff".to_vec(), be].concat()] {
                prop_assert_eq!(made_plain(Encoding::Utf16, &bytes).unwrap(), text.as_bytes());
                prop_assert_eq!(made_plain(Encoding::Utf16, &zstd(&bytes)).unwrap(), text.as_bytes());
            }
            // Above the control characters the bytes of Latin-1 are the characters of these numbers.
            let western: Vec<u8> = text.bytes().map(|byte| if byte < 0x80 { byte } else { byte | 0xa0 }).collect();
            let expected: String = western.iter().map(|byte| char::from(*byte)).collect();
            prop_assert_eq!(made_plain(Encoding::Windows1252, &western).unwrap(), expected.as_bytes());
            prop_assert_eq!(made_plain(Encoding::Windows1252, &gzip(&western)).unwrap(), expected.as_bytes());
            // Files that are put one after another are one file.
            let (start, end) = text.as_bytes().split_at(text.len() / 2);
            for packed in [[gzip(start), gzip(end)].concat(), [zstd(start), zstd(end)].concat()] {
                prop_assert_eq!(made_plain(Encoding::Utf8, &packed).unwrap(), text.as_bytes());
            }
        }

        #[test]
        fn packed_bytes_that_are_spoilt_are_read_or_refused(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let text: Vec<u8> = (0..2_000_u32).flat_map(|row| format!("{row},{}\n", row * row).into_bytes()).collect();
            for mut packed in [gzip(&text), zstd(&text)] {
                let place = place.index(packed.len());
                packed[place] = byte;
                if let Err(error) = made_plain(Encoding::Utf8, &packed) {
                    let fault = error.fault().expect("it is the file's");
                    prop_assert!(fault.message.contains("damaged or cut off") || fault.message.contains("has more than"));
                }
                packed.truncate(place.max(4));
                let error = made_plain(Encoding::Utf8, &packed);
                prop_assert!(error.is_err() || packed[..2] != [0x1f, 0x8b] && packed[..4] != [0x28, 0xb5, 0x2f, 0xfd]);
            }
        }
    }

    #[test]
    fn what_is_no_character_is_no_text_and_the_rest_stays() {
        assert_eq!(made_plain(Encoding::Utf16, b"a\0\x00\xd8b\0c").unwrap(), b"a\xffb\xff");
        assert_eq!(made_plain(Encoding::Windows1252, b"5 \x80").unwrap(), "5 €".as_bytes());
        assert_eq!(made_plain(Encoding::Utf8, b"\xff\xfe").unwrap(), b"\xff\xfe");
    }

    #[test]
    fn what_is_small_as_it_is_sent_and_endless_unpacked_is_refused() {
        let zeros = vec![b'\n'; 64 << 20];
        for bytes in [gzip(&zeros), zstd(&zeros)] {
            assert!((bytes.len() as u64) < FILE_BYTES, "{}", bytes.len());
            let error = made_plain(Encoding::Utf8, &bytes).unwrap_err();
            assert_eq!(
                error.to_string(),
                "unpacked, the file has more than 307200 bytes, the most that are accepted"
            );
        }
        assert!(made_plain(Encoding::Windows1252, &[0xe9; 200 << 10]).is_err());
    }
}
