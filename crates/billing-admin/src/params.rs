//! The fields of a form or of a query.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

/// The fields that say which part of a list is shown.
const PLACE: [&str; 2] = ["after", "before"];

/// In order; a name may stand there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn read(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first field of this name, without the blanks around it; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Likewise, as it was typed.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All fields of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What another form of the same page has to send along: all but these fields, and the place in the list.
    pub(crate) fn without(&self, names: &[&str]) -> Vec<(String, String)> {
        let stays = |(key, _): &&(String, String)| !names.contains(&key.as_str()) && !PLACE.contains(&key.as_str());
        self.0.iter().filter(stays).cloned().collect()
    }

    /// Of these names only.
    pub(crate) fn only(&self, names: &[&str]) -> Vec<(String, String)> {
        self.0.iter().filter(|(key, _)| names.contains(&key.as_str())).cloned().collect()
    }

    /// The address of the same page with one field changed, or taken away, and from the first row on.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        let stays =
            |(key, value): &&(String, String)| !value.is_empty() && name != key && !PLACE.contains(&key.as_str());
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(stays));
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        format!("?{}", query.finish())
    }
}

/// The query of the address.
pub(crate) struct Asked(pub(crate) Params);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Params::read(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}
