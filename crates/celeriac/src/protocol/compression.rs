//! Compressed bodies (`kombu/compression.py`).

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::ZlibEncoder;

/// The compressions that this crate reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// kombu's `gzip` and `zlib`: the MIME type of gzip, but the bytes are a zlib stream.
    Gzip,
}

/// A zlib stream starts with method 8 (deflate); a gzip file (RFC 1952) with these two bytes.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

impl Compression {
    /// Finds it by MIME type or by one of kombu's names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "application/x-gzip" | "gzip" | "zlib" => Some(Self::Gzip),
            _ => None,
        }
    }

    /// The value of the `compression` header.
    #[must_use]
    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/x-gzip",
        }
    }

    pub(crate) fn compress(self, body: &[u8]) -> Bytes {
        let Self::Gzip = self;
        let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), Level::default());
        encoder.write_all(body).expect("a vector takes every write");
        encoder.finish().expect("a vector takes every write").into()
    }

    /// Unpacks a body; `None` if there is more in it than `limit` bytes.
    pub(crate) fn decompress(self, body: &[u8], limit: usize) -> std::io::Result<Option<Bytes>> {
        let Self::Gzip = self;
        let mut unpacked = Vec::new();
        // One byte more than allowed tells a full body from one that is too large, however large that is.
        let limit_and_one = limit as u64 + 1;
        if body.starts_with(&GZIP_MAGIC) {
            MultiGzDecoder::new(body).take(limit_and_one).read_to_end(&mut unpacked)?;
        } else {
            ZlibDecoder::new(body).take(limit_and_one).read_to_end(&mut unpacked)?;
        }
        Ok((unpacked.len() <= limit).then(|| unpacked.into()))
    }
}
