//! Compressed results (`celery/backends/base.py`, `compress_payload`): a marker, the MIME type of the compression, NUL,
//! what was compressed. No JSON begins like the marker.

use std::borrow::Cow;

use crate::protocol::{Compression, MAX_BODY};

/// `COMPRESSED_PAYLOAD_MAGIC`
const MAGIC: &[u8] = b"\0celery-compressed\0";

/// What is stored for a text.
pub(super) fn pack(text: &str, compression: Option<Compression>) -> Cow<'_, [u8]> {
    let Some(compression) = compression else { return text.as_bytes().into() };
    let mut payload = MAGIC.to_vec();
    payload.extend_from_slice(compression.mime_type().as_bytes());
    payload.push(0);
    payload.extend_from_slice(&compression.compress(text.as_bytes()));
    payload.into()
}

/// The text that was stored, compressed or not.
///
/// # Errors
/// What is wrong with it: it is damaged, too large, or was compressed in another way.
pub(super) fn unpack(payload: Vec<u8>) -> Result<String, String> {
    let text = match payload.strip_prefix(MAGIC) {
        None => payload,
        Some(packed) => {
            let end = packed.iter().position(|byte| *byte == 0).ok_or("the kind of compression is cut off")?;
            let (kind, body) = (String::from_utf8_lossy(&packed[..end]), &packed[end + 1..]);
            let compression =
                Compression::from_name(&kind).ok_or_else(|| format!("compression {kind:?} is not known"))?;
            let unpacked = compression.decompress(body, MAX_BODY).map_err(|error| error.to_string())?;
            unpacked.ok_or_else(|| format!("larger than {MAX_BODY} bytes"))?.into()
        }
    };
    String::from_utf8(text).map_err(|_| "not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_what_was_not_is_left_alone() {
        let text = r#"{"status": "SUCCESS", "result": "ü"}"#;
        assert_eq!(&*pack(text, None), text.as_bytes());
        let packed = pack(text, Some(Compression::Gzip));
        assert!(packed.starts_with(b"\0celery-compressed\0application/x-gzip\0\x78\x9c"), "{packed:?}");
        assert_eq!(unpack(packed.into_owned()).as_deref(), Ok(text));
        assert_eq!(unpack(text.into()).as_deref(), Ok(text));
    }

    #[test]
    fn what_cannot_be_unpacked_says_why() {
        for (payload, reason) in [
            (&b"\0celery-compressed\0application/x-gzip"[..], "cut off"),
            (b"\0celery-compressed\0application/x-bz2\0BZh9", "\"application/x-bz2\" is not known"),
            (b"\0celery-compressed\0application/x-gzip\0\x78\x9cgarbage", "deflate"),
            (b"\xff\xfe", "not UTF-8"),
        ] {
            let error = unpack(payload.to_vec()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
