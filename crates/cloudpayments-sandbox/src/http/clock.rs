//! The sandbox's clock under `/sandbox/clock`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use chrono::{SecondsFormat, TimeDelta};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gateway, control::bad_request};

/// A century, in milliseconds.
const MAX_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
const MAX_SPEED: u32 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setting {
    /// Moves it on, or back.
    advance_ms: Option<i64>,
    /// Puts it so far from the world's time; 0 sets it right.
    ahead_ms: Option<i64>,
    speed: Option<u32>,
}

/// `GET /sandbox/clock`
pub(crate) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    Json(reading(&gateway))
}

/// `POST /sandbox/clock`: what becomes due happens at once, in its order.
pub(crate) async fn set(
    State(gateway): State<Arc<Gateway>>,
    setting: Result<Json<Setting>, JsonRejection>,
) -> Response {
    let setting = match setting {
        Ok(Json(setting)) => setting,
        Err(rejection) => return bad_request(None, &rejection.body_text()),
    };
    for (field, value) in [("advance_ms", setting.advance_ms), ("ahead_ms", setting.ahead_ms)] {
        if value.is_some_and(|value| value.unsigned_abs() > MAX_MS) {
            return bad_request(Some(field), &format!("{field} must be at most {MAX_MS} either way"));
        }
    }
    if setting.speed.is_some_and(|speed| !(1..=MAX_SPEED).contains(&speed)) {
        return bad_request(Some("speed"), &format!("speed must be from 1 to {MAX_SPEED}"));
    }
    if let Some(ahead) = setting.ahead_ms {
        gateway.clock.set_ahead(TimeDelta::milliseconds(ahead));
    }
    if let Some(by) = setting.advance_ms {
        gateway.clock.advance(TimeDelta::milliseconds(by));
    }
    if let Some(speed) = setting.speed {
        gateway.clock.set_speed(speed);
    }
    Json(reading(&gateway)).into_response()
}

fn reading(gateway: &Gateway) -> Value {
    let clock = &gateway.clock;
    json!({
        "now": clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "ahead_ms": clock.ahead().num_milliseconds(),
        "speed": clock.speed(),
    })
}
