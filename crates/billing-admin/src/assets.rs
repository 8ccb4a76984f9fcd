//! What the pages look like and the little that they do by themselves. It is in the binary; the hash in its address lets
//! browsers keep it for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("../assets/admin.css");
const SCRIPT: &str = include_str!("../assets/admin.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// The names of the files, with their hashes.
pub(crate) static STYLE_NAME: LazyLock<String> = LazyLock::new(|| named("admin", STYLE, "css"));
pub(crate) static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| named("admin", SCRIPT, "js"));
pub(crate) static ICON_NAME: LazyLock<String> = LazyLock::new(|| named("icon", ICON, "svg"));

fn named(stem: &str, text: &str, extension: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{stem}-{hash}.{extension}")
}

pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let found = [
        (&*STYLE_NAME, STYLE, "text/css; charset=utf-8"),
        (&*SCRIPT_NAME, SCRIPT, "text/javascript; charset=utf-8"),
        (&*ICON_NAME, ICON, "image/svg+xml"),
    ];
    match found.into_iter().find(|(known, ..)| **known == name) {
        Some((_, text, kind)) => {
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")], text)
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
