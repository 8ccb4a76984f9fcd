//! Where and how each kind of notification is sent ("Настройка уведомлений").

use serde::{Deserialize, Serialize};
use url::Url;

use super::Kind;

/// Longest address, in bytes.
const MAX_ADDRESS: usize = 2048;

/// The settings of one kind, as `/site/notifications/{Type}/get` shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Settings {
    pub(crate) is_enabled: bool,
    /// An absolute http or https address; `None` until somebody names one.
    pub(crate) address: Option<String>,
    pub(crate) http_method: Method,
    pub(crate) encoding: Encoding,
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Get,
    Post,
}

/// Of the characters, before they are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Encoding {
    #[serde(rename = "UTF8")]
    Utf8,
    Windows1251,
}

/// `QIWI` and `RT`, which the gateway also has, are not emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    /// A form.
    CloudPayments,
    /// The same fields as a JSON object: the sandbox's own name for what the gateway's support turns on.
    #[serde(rename = "JSON")]
    Json,
}

impl Settings {
    /// Nothing is sent.
    pub(crate) const OFF: Self = Self {
        is_enabled: false,
        address: None,
        http_method: Method::Post,
        encoding: Encoding::Utf8,
        format: Format::CloudPayments,
    };

    /// A form posted to `{base}/{kind}`.
    pub(crate) fn under(base: &Url, kind: Kind) -> Self {
        let address = format!("{}/{}", base.as_str().trim_end_matches('/'), kind.name());
        Self { is_enabled: true, address: Some(address), ..Self::OFF }
    }

    /// Where to send, if anything is to be sent.
    pub(crate) fn target(&self) -> Option<&str> {
        self.address.as_deref().filter(|_| self.is_enabled)
    }
}

/// An address that can be sent to. What is wrong with another completes a sentence that begins with `Address`.
pub(crate) fn address(text: &str) -> Result<String, &'static str> {
    match Url::parse(text) {
        _ if text.len() > MAX_ADDRESS => Err("is too long"),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url.into()),
        _ => Err("must be an absolute http or https address"),
    }
}

impl Method {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [("GET", Self::Get), ("POST", Self::Post)].into_iter().find_map(named(text))
    }
}

impl Encoding {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [("UTF8", Self::Utf8), ("Windows1251", Self::Windows1251)].into_iter().find_map(named(text))
    }
}

impl Format {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [("CloudPayments", Self::CloudPayments), ("JSON", Self::Json)].into_iter().find_map(named(text))
    }
}

fn named<T>(text: &str) -> impl Fn((&str, T)) -> Option<T> {
    move |(name, value)| name.eq_ignore_ascii_case(text).then_some(value)
}
