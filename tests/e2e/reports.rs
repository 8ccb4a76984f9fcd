//! What Sentry is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use billing_api::proto::ListTariffsRequest;
use billing_api::proto::tariffs_client::TariffsClient;
use testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_postgres::NoTls;
use tonic::{Code, Request};

use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes reports at an address, and keeps what was sent.
async fn sentry() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dsn = format!("http://public@{}/1", listener.local_addr().unwrap());
    let heard = Arc::<Mutex<String>>::default();
    let keep = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                let mut piece = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = client.read(&mut piece).await {
                    keep.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
                    let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                }
            });
        }
    });
    (dsn, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_an_error_names_the_request_by_its_id() {
    let (dsn, heard) = sentry().await;
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start_with(&vhost.amqp_url(), redis.url(), "0ms", &[("SENTRY_DSN", &dsn)]).await;
    let (database, connection) = tokio_postgres::connect(system.database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    database.batch_execute("alter table tariff rename to elsewhere").await.unwrap();

    let mut client = TariffsClient::connect(format!("http://{}", system.api)).await.unwrap();
    let mut request = Request::new(ListTariffsRequest {});
    request.metadata_mut().insert("authorization", "Bearer frontend-dev".parse().unwrap());
    request.metadata_mut().insert("x-request-id", "order-17".parse().unwrap());
    assert_eq!(client.list_tariffs(request).await.unwrap_err().code(), Code::Internal);

    let report = eventually(PATIENCE, async || {
        let heard = heard.lock().unwrap().clone();
        if heard.contains("internal error") { Ok(heard) } else { Err(heard) }
    })
    .await;
    for told in [r#""request_id":"order-17""#, r#""method":"billing.v1.Tariffs/ListTariffs""#, r#""client":"frontend""#]
    {
        assert!(report.contains(told), "{told} is missing in {report}");
    }
    assert!(!report.contains("frontend-dev"), "{report}");
}
