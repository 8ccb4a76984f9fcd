//! What can go wrong between us and the gateway, and what we make of it.

use std::time::Duration;

use cloudpayments::{Amount, Charge, Client, Doubt, Error, Initiator, NotProcessed, TokenCharge};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
    time::Instant,
};

use crate::gateway::{Gateway, Reply, config, request_id};

const ACCEPTED: &str = r#"{"Success":true,"Model":{"TransactionId":1,"Status":"Completed","ReasonCode":0}}"#;

async fn charge(client: &Client) -> Result<Charge, Error> {
    let charge = TokenCharge::new(Amount::from_kopecks(29900), "RUB", "acc-1", "tk".into(), Initiator::Schedule);
    client.charge_token(&charge, &request_id("charge:1")).await
}

/// The decision of a charge at a gateway that replies so; and that it was sent exactly once.
async fn decision(gateway: &Gateway) -> Result<Charge, Error> {
    let decision = charge(&gateway.client()).await;
    assert_eq!(gateway.requests().len(), 1, "sent exactly once");
    decision
}

fn doubt(decision: Result<Charge, Error>) -> Doubt {
    match decision {
        Err(Error::OutcomeUnknown { why }) => why,
        other => panic!("not unknown: {other:?}"),
    }
}

fn not_processed(decision: Result<Charge, Error>) -> (NotProcessed, Option<Duration>) {
    match decision {
        Err(Error::SafeToRetry { why, retry_after }) => (why, retry_after),
        other => panic!("not safe to retry: {other:?}"),
    }
}

fn is_unreachable(decision: Result<Charge, Error>) -> bool {
    matches!(not_processed(decision), (NotProcessed::Unreachable(_), None))
}

#[tokio::test]
async fn a_complete_answer_is_decided_by_its_body() {
    let gateway = Gateway::answering(200, ACCEPTED).await;
    let Ok(Charge::Completed(transaction)) = decision(&gateway).await else {
        panic!("not completed");
    };
    assert_eq!(transaction.transaction_id, 1);
}

#[tokio::test]
async fn a_refused_connection_is_safe_to_retry() {
    let bound_but_not_listening = TcpSocket::new_v4().unwrap();
    bound_but_not_listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound_but_not_listening.local_addr().unwrap();
    let client = Client::new(config(format!("http://{address}"))).unwrap();
    assert!(is_unreachable(charge(&client).await));
}

#[tokio::test]
async fn a_name_that_is_not_found_is_safe_to_retry() {
    let client = Client::new(config("http://gateway.invalid".to_owned())).unwrap();
    assert!(is_unreachable(charge(&client).await));
}

#[tokio::test]
async fn a_failed_tls_handshake_is_safe_to_retry() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let client = Client::new(config(format!("https://{address}"))).unwrap();
    let (decision, first_byte) =
        tokio::join!(charge(&client), async { plain.accept().await.unwrap().0.read_u8().await.unwrap() });
    assert!(is_unreachable(decision));
    assert_eq!(first_byte, 22, "a TLS handshake record, no request");
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_is_safe_to_retry() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(format!("https://{}", silent.local_addr().unwrap()));
    config.connect_timeout = Duration::from_millis(100);
    let client = Client::new(config).unwrap();
    assert!(is_unreachable(charge(&client).await));
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_leaves_the_outcome_unknown() {
    let gateway = Gateway::replying(|| Reply::Bytes(Vec::new())).await;
    assert!(matches!(doubt(decision(&gateway).await), Doubt::ConnectionLost(_)));
}

#[tokio::test]
async fn a_reset_after_sending_leaves_the_outcome_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(config(format!("http://{}", listener.local_addr().unwrap()))).unwrap();
    let (decision, ()) = tokio::join!(charge(&client), async {
        // Closing with unread bytes resets the connection.
        listener.accept().await.unwrap().0.read_u8().await.unwrap();
    });
    assert!(matches!(doubt(decision), Doubt::ConnectionLost(_)));
}

#[tokio::test]
async fn half_an_answer_leaves_the_outcome_unknown() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"Success\":true,",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"Success\":true,\r\n",
    ] {
        let gateway = Gateway::start(move |_| async move { Reply::Bytes(half.into()) }).await;
        assert!(matches!(doubt(decision(&gateway).await), Doubt::ConnectionLost(_)), "{half}");
    }
}

#[tokio::test]
async fn an_answer_later_than_the_timeout_leaves_the_outcome_unknown() {
    for begun in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"] {
        let gateway = Gateway::start(move |_| async move { Reply::Hang(begun.into()) }).await;
        let mut config = config(gateway.url());
        config.timeout = Duration::from_millis(300);
        let started = Instant::now();
        let decision = charge(&Client::new(config).unwrap()).await;
        assert_eq!(doubt(decision), Doubt::Timeout, "{begun}");
        assert!(started.elapsed() >= Duration::from_millis(300));
        assert_eq!(gateway.requests().len(), 1, "sent exactly once");
    }
}

#[tokio::test]
async fn http_429_is_safe_to_retry_after_as_long_as_the_gateway_says() {
    for (header, expected) in [
        ("Retry-After: 7", Some(Duration::from_secs(7))),
        ("Retry-After: 99999999999", Some(Duration::from_secs(3600))),
        ("Retry-After: Fri, 31 Dec 2027 23:59:59 GMT", None),
        ("X-Nothing: 1", None),
    ] {
        let gateway = Gateway::start(move |_| async move {
            let head = format!("HTTP/1.1 429 Too Many Requests\r\n{header}\r\nContent-Length: 0\r\n\r\n");
            Reply::Bytes(head.into())
        })
        .await;
        let decision = not_processed(decision(&gateway).await);
        assert_eq!(decision, (NotProcessed::RateLimited, expected), "{header}");
    }
}

#[tokio::test]
async fn a_status_that_decides_alone_decides_also_with_a_broken_body() {
    let unauthorized =
        Gateway::replying(|| Reply::Bytes("HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\n<ht".into())).await;
    assert!(matches!(decision(&unauthorized).await, Err(Error::Unauthorized)));

    let limited = Gateway::replying(|| {
        Reply::Flood("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 99999999999\r\n\r\n".into())
    })
    .await;
    assert_eq!(not_processed(decision(&limited).await).0, NotProcessed::RateLimited);
}

#[tokio::test]
async fn a_server_error_leaves_the_outcome_unknown_even_with_a_good_body() {
    for status in [500, 502, 503, 504] {
        let gateway = Gateway::answering(status, ACCEPTED).await;
        assert_eq!(doubt(decision(&gateway).await), Doubt::Status(status));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Gateway::answering(200, ACCEPTED).await;
    let url = elsewhere.url();
    let gateway = Gateway::start(move |_| {
        let head = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {url}/payments/tokens/charge\r\nContent-Length: 0\r\n\r\n"
        );
        async move { Reply::Bytes(head.into()) }
    })
    .await;
    assert_eq!(doubt(decision(&gateway).await), Doubt::Status(307));
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn garbage_leaves_the_outcome_unknown() {
    let not_http = Gateway::replying(|| Reply::Bytes("SSH-2.0-OpenSSH_9.2\r\n\r\n".into())).await;
    assert!(matches!(doubt(decision(&not_http).await), Doubt::ConnectionLost(_)));

    for garbage in ["", "<html>Bad gateway</html>", "{", "null", "\u{0}\u{1}", "[]"] {
        let gateway = Gateway::answering(200, garbage).await;
        assert!(matches!(doubt(decision(&gateway).await), Doubt::Undecodable(_)), "{garbage}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_and_leaves_the_outcome_unknown() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n{", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{"] {
        let gateway = Gateway::start(move |_| async move { Reply::Flood(head.into()) }).await;
        assert_eq!(doubt(decision(&gateway).await), Doubt::TooLarge, "{head}");
    }
}

#[tokio::test]
async fn a_decision_does_not_spoil_the_next_call() {
    let gateway = Gateway::start(|request| async move {
        if request.header("X-Request-ID") == Some("charge:1") {
            Reply::Bytes(Vec::new())
        } else {
            Reply::Answer(200, r#"{"Success":true,"Message":"id"}"#.to_owned())
        }
    })
    .await;
    let client = gateway.client();
    assert!(matches!(doubt(charge(&client).await), Doubt::ConnectionLost(_)));
    assert_eq!(client.test().await.unwrap(), "id");
}
