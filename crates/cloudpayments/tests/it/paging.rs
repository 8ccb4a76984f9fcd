//! Lists of more than one page.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use chrono::{DateTime, FixedOffset};
use cloudpayments::{Error, ListRequest, TransactionStatus};

use crate::gateway::{Gateway, Reply};

fn a_day() -> ListRequest {
    let moment = |text| DateTime::<FixedOffset>::parse_from_rfc3339(text).unwrap();
    ListRequest::created_between(moment("2026-11-01T00:00:00+03:00"), moment("2026-11-02T00:00:00+03:00"))
}

fn page(ids: &[i64]) -> Reply {
    let entries: Vec<_> = ids.iter().map(|id| serde_json::json!({"TransactionId": id})).collect();
    Reply::Answer(200, serde_json::json!({"Success": true, "Model": entries}).to_string())
}

#[tokio::test]
async fn pages_are_asked_for_until_an_empty_one() {
    let gateway = Gateway::start(|request| async move {
        match request.json()["PageNumber"].as_u64() {
            Some(1) => page(&[1, 2, 3]),
            Some(2) => page(&[4]),
            _ => page(&[]),
        }
    })
    .await;
    let mut pages = gateway.client().pages(a_day());
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        ids.extend(page.into_iter().map(|transaction| transaction.transaction_id));
    }
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(pages.next().await.unwrap().is_none());
    assert_eq!(gateway.requests().len(), 3, "an ended list is not asked for again");
}

#[tokio::test]
async fn a_failed_page_is_asked_for_again() {
    let gateway = Gateway::start({
        let failures = AtomicUsize::new(0);
        move |request| {
            let number = request.json()["PageNumber"].as_u64();
            let failed_before = number == Some(2) && failures.fetch_add(1, SeqCst) > 0;
            async move {
                match number {
                    Some(1) => page(&[1]),
                    Some(2) if failed_before => page(&[2]),
                    Some(2) => Reply::Answer(429, String::new()),
                    _ => page(&[]),
                }
            }
        }
    })
    .await;
    let mut pages = gateway.client().pages(a_day());
    assert_eq!(pages.next().await.unwrap().unwrap()[0].transaction_id, 1);
    assert!(matches!(pages.next().await, Err(Error::SafeToRetry { .. })));
    assert_eq!(pages.next().await.unwrap().unwrap()[0].transaction_id, 2);
    assert!(pages.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_gateway_that_repeats_a_page_is_noticed() {
    let gateway = Gateway::start(|_| async { page(&[1, 2]) }).await;
    let mut pages = gateway.client().pages(a_day());
    assert!(pages.next().await.unwrap().is_some());
    assert!(matches!(pages.next().await, Err(Error::OutcomeUnknown { .. })));
}

#[tokio::test]
async fn only_the_statuses_asked_for_are_listed() {
    let gateway = Gateway::start(|_| async { page(&[]) }).await;
    let mut request = a_day();
    request.statuses = vec![TransactionStatus::Authorized, TransactionStatus::Completed];
    gateway.client().list(&request, 1).await.unwrap();
    assert_eq!(
        gateway.request().json(),
        serde_json::json!({
            "PageNumber": 1,
            "CreatedDateGte": "2026-11-01T00:00:00+03:00",
            "CreatedDateLte": "2026-11-02T00:00:00+03:00",
            "Statuses": ["Authorized", "Completed"],
        })
    );
}
