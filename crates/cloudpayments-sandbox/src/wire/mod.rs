//! The gateway's language: requests read from JSON or forms, answers printed as its documentation shows them.

pub(crate) mod answer;
mod dates;
mod look;
mod model;
mod orders;
pub(crate) mod params;
mod recurring;
pub(crate) mod request;
mod zones;
