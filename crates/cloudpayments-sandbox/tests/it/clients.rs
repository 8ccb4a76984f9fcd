//! Requests of real clients, captured byte for byte, are understood.

use serde::Deserialize;
use serde_json::Value;

use crate::shop::Shop;

#[derive(Deserialize)]
struct Captured {
    path: String,
    headers: Vec<(String, String)>,
    body_raw: String,
}

/// What a client would be told if it made a mistake in its request.
const MISUNDERSTOOD: [&str; 4] = ["required", "invalid", "must", "JSON"];

#[tokio::test]
async fn captured_requests_are_understood() {
    let shop = Shop::open().await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clients");
    let mut seen = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let captured: Captured = serde_json::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap();
        let mut request = shop.http.post(shop.url(&captured.path)).basic_auth("pk_sandbox", Some("sk_sandbox"));
        for (header, value) in &captured.headers {
            let kept = ["content-type", "accept", "user-agent"].iter().any(|known| header.eq_ignore_ascii_case(known));
            if kept {
                request = request.header(header, value);
            }
        }
        let answer: Value = crate::shop::answer(request.body(captured.body_raw).send().await.unwrap()).await;
        let message = answer["Message"].as_str().unwrap_or_default();
        assert!(!MISUNDERSTOOD.iter().any(|word| message.contains(word)), "{name}: {message}");
        seen += 1;
    }
    assert_eq!(seen, 31);
}
