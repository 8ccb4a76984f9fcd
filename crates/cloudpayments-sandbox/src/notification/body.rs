//! How a notification is written and signed.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    content::Field,
    settings::{Encoding, Format, Method, Settings},
};

/// A notification ready to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) method: Method,
    /// The address, for GET with the fields in its query.
    pub(crate) address: String,
    /// `None` for GET.
    pub(crate) body: Option<Body>,
    /// Over the bytes as they leave.
    pub(crate) content_hmac: String,
    /// Over the same with the escapes undone.
    pub(crate) x_content_hmac: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Writes `fields` for an address as its settings say, signed with the terminal's API Secret.
pub(crate) fn write(fields: &[Field], settings: &Settings, address: &str, api_secret: &str) -> Written {
    let (signed, plain, content_type) = match (settings.http_method, settings.format) {
        (Method::Post, Format::Json) => {
            let bytes = encode(&json(fields), settings.encoding);
            (bytes.clone(), bytes, content_type("application/json", settings.encoding))
        }
        _ => {
            let escaped = form(fields, settings.encoding).into_bytes();
            (
                escaped,
                plain_form(fields).into_bytes(),
                content_type("application/x-www-form-urlencoded", settings.encoding),
            )
        }
    };
    let (content_hmac, x_content_hmac) = (sign(&signed, api_secret), sign(&plain, api_secret));
    let (address, body) = match settings.http_method {
        Method::Post => (address.to_owned(), Some(Body { content_type, bytes: signed })),
        Method::Get => {
            let query = String::from_utf8_lossy(&signed);
            let joint = if address.contains('?') { '&' } else { '?' };
            (format!("{address}{joint}{query}"), None)
        }
    };
    Written { method: settings.http_method, address, body, content_hmac, x_content_hmac }
}

/// Base64 of HMAC-SHA256.
fn sign(message: &[u8], api_secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(api_secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn content_type(media: &'static str, encoding: Encoding) -> &'static str {
    match (media, encoding) {
        ("application/json", Encoding::Utf8) => "application/json; charset=utf-8",
        ("application/json", Encoding::Windows1251) => "application/json; charset=windows-1251",
        (_, Encoding::Windows1251) => "application/x-www-form-urlencoded; charset=windows-1251",
        (media, Encoding::Utf8) => media,
    }
}

fn json(fields: &[Field]) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let items = fields.iter().map(|field| {
        let value = if field.bare { field.value.clone() } else { quoted(&field.value) };
        format!("{}:{value}", quoted(&field.name))
    });
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

fn form(fields: &[Field], encoding: Encoding) -> String {
    join(fields, |value| escape(&encode(value, encoding)))
}

/// What a reader has after undoing the escapes of the whole text at once.
fn plain_form(fields: &[Field]) -> String {
    join(fields, str::to_owned)
}

fn join(fields: &[Field], written: impl Fn(&str) -> String) -> String {
    let pairs = fields.iter().map(|field| format!("{}={}", field.name, written(&field.value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// As forms are escaped, whatever the encoding of the characters: a space is `+`.
fn escape(bytes: &[u8]) -> String {
    url::form_urlencoded::byte_serialize(bytes).collect()
}

fn encode(text: &str, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Utf8 => text.as_bytes().to_owned(),
        Encoding::Windows1251 => text.chars().map(|c| windows_1251(c).unwrap_or(b'?')).collect(),
    }
}

/// The upper half of Windows-1251 from 0x80 on; the capitals and smalls of the alphabet follow from 0xC0.
const UPPER: &str = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕї";

fn windows_1251(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ ..0x80 => u8::try_from(code).ok(),
        code @ 0x410..=0x44F => u8::try_from(code - 0x410 + 0xC0).ok(),
        _ => UPPER.chars().position(|known| known == c).and_then(|index| u8::try_from(0x80 + index).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk_test_secret";

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned(), bare: false }
    }

    /// Splits a body of the test vectors into its fields.
    fn fields_of(form: &str) -> Vec<Field> {
        url::form_urlencoded::parse(form.as_bytes()).map(|(name, value)| field(&name, &value)).collect()
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        content_type: String,
        body: String,
        #[serde(rename = "Content-HMAC")]
        content: String,
        #[serde(rename = "X-Content-HMAC")]
        decoded: String,
    }

    /// Signatures that the verifiers of real clients accept.
    #[test]
    fn forms_are_written_and_signed_as_the_vectors_are() {
        let mut seen = 0;
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/webhooks");
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let vector: Vector = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(sign(vector.body.as_bytes(), SECRET), vector.content, "{path:?}");
            // Hex digits in lower case are .NET's: signed alike, not written by us.
            if vector.content_type.contains("json") || path.ends_with("pay-form-lowerhex.json") {
                continue;
            }
            let fields = fields_of(&vector.body);
            let written = write(&fields, &Settings::OFF, "http://shop.test/pay", SECRET);
            let body = written.body.unwrap();
            assert_eq!(String::from_utf8(body.bytes).unwrap(), vector.body, "{path:?}");
            assert_eq!((written.content_hmac, written.x_content_hmac), (vector.content, vector.decoded), "{path:?}");
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_query_is_signed_without_the_address() {
        let fields = [field("Description", "Подписка & «Кино»")];
        let post = write(&fields, &Settings::OFF, "http://shop.test/pay", SECRET);
        let get = Settings { http_method: Method::Get, ..Settings::OFF };
        let get = write(&fields, &get, "http://shop.test/pay?of=cinema", SECRET);
        assert_eq!((&get.content_hmac, &get.x_content_hmac), (&post.content_hmac, &post.x_content_hmac));
        assert!(get.address.starts_with("http://shop.test/pay?of=cinema&Description=%D0%9F"), "{}", get.address);
        assert_eq!(get.body, None);
    }

    #[test]
    fn json_has_numbers_as_numbers_and_both_signatures_alike() {
        let mut fields = vec![field("Name", "A \"B\"")];
        fields.push(Field { name: "Amount".to_owned(), value: "59.50".to_owned(), bare: true });
        let settings = Settings { format: Format::Json, ..Settings::OFF };
        let written = write(&fields, &settings, "http://shop.test/pay", SECRET);
        assert_eq!(written.body.unwrap().bytes, br#"{"Name":"A \"B\"","Amount":59.50}"#);
        assert_eq!(written.content_hmac, written.x_content_hmac);
    }

    #[test]
    fn windows_1251_is_one_byte_a_letter() {
        let settings = Settings { encoding: Encoding::Windows1251, ..Settings::OFF };
        let written = write(&[field("D", "Аяё№«»– я☃")], &settings, "http://shop.test/pay", SECRET);
        assert_eq!(written.body.unwrap().bytes, b"D=%C0%FF%B8%B9%AB%BB%96+%FF%3F");
        assert_eq!(UPPER.chars().count(), 0x40);
    }
}
