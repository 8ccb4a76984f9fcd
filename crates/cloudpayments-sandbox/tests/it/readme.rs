//! What the README tells people to type.

use serde_json::{Value, json};

use crate::shop::{Shop, VISA};

/// The commands of the README's console blocks, in order; a line that ends in a backslash goes on.
fn commands(readme: &str) -> Vec<String> {
    let blocks = readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut commands: Vec<String> = Vec::new();
    for block in blocks {
        let mut goes_on = false;
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push(command.to_owned()),
                None if goes_on => commands.last_mut().unwrap().push_str(&format!("\n{line}")),
                None => {}
            }
            goes_on = line.ends_with('\\');
        }
    }
    commands
}

#[tokio::test]
async fn the_readme_works_as_it_is_typed() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    let typed = commands(include_str!("../../README.md"));
    assert_eq!(typed[0], "billing sandbox");
    let script = typed[1..].join("\necho\n").replace("127.0.0.1:8090", &shop.sandbox.addr.to_string());
    let script = script.replace("success_…", &token).replace("curl ", "curl --fail-with-body --noproxy '*' ");
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), bash.output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}\n{script}", String::from_utf8_lossy(&output.stderr));
    assert!(!printed.contains("\"Success\":false") && !printed.contains("\"error\""), "{printed}");

    let seen: Vec<_> =
        shop.ledger().await.iter().map(|it| (it["type"].clone(), it["card"].clone(), it["refunded"].clone())).collect();
    let paid = (json!("Payment"), json!("411111******1111"), json!(4));
    assert!(seen.len() == 3 && seen[1] == paid && seen[2].0 == "Refund", "{seen:?}");
    let get = async |path: &str| -> Value { shop.http.get(shop.url(path)).send().await.unwrap().json().await.unwrap() };
    assert_eq!(get("/sandbox/faults").await.as_array().unwrap().len(), 2);
    shop.http.delete(shop.url("/sandbox/faults")).send().await.unwrap();
    let settings = shop.call("/site/notifications/pay/get", json!({})).await;
    assert_eq!(settings["Model"]["Address"], "http://127.0.0.1:8000/paid");
    assert!(get("/sandbox/clock").await["ahead_ms"].as_i64().unwrap() >= 86_400_000);
}
