//! The gateway's language: requests read from JSON or forms, answers printed as its documentation shows them.

pub(crate) mod answer;
mod model;
pub(crate) mod params;
pub(crate) mod request;
mod zones;
