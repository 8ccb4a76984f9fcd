//! C8: in whatever shape it comes, it is read or refused, and nothing breaks.

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gateway::{Reply, http_client, pay, sign};
use crate::world::World;

async fn send(world: &World, content_type: Option<&str>, body: Vec<u8>) -> Reply {
    sent(world, content_type, body).await.expect("an HTTP response")
}

/// `None`: the connection was closed while the body was still being sent.
async fn sent(world: &World, content_type: Option<&str>, body: Vec<u8>) -> Option<Reply> {
    let mut request = http_client().post(world.notification_url("pay")).header("Content-HMAC", sign(&body));
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    Some(Reply::of(request.body(body).send().await.ok()?).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_json_are_read_by_whatever_name_they_go() {
    let world = World::notified().await;
    let json = |n: i64| format!(r#"{{"TransactionId":{n},"Amount":1.00,"Status":"Completed"}}"#).into_bytes();
    let form = |n: i64| format!("TransactionId={n}&Amount=1.00&Name=%C8%E2%E0%ED").into_bytes();
    let with_mark = [b"\xef\xbb\xbf".as_slice(), &json(2)].concat();
    for (content_type, body) in [
        (Some("application/json"), json(1)),
        (Some("application/json"), with_mark),
        (Some("application/json; charset=utf-8"), json(3)),
        (None, json(4)),
        (None, form(5)),
        (Some("application/x-www-form-urlencoded; charset=windows-1251"), form(6)),
        (Some("text/plain"), form(7)),
    ] {
        assert_eq!(send(&world, content_type, body).await, Reply::accepted(), "{content_type:?}");
    }
    assert_eq!(world.count("notification").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_a_get_is_read_like_a_form() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let query = pay(&payment, 455, &[]);
    let request = http_client().get(format!("{}?{query}", world.notification_url("pay")));
    let response = request.header("Content-HMAC", sign(query.as_bytes())).send().await.unwrap();
    assert_eq!(Reply::of(response).await, Reply::accepted());
    assert_eq!(world.count("payment where state = 'succeeded'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_leaves_nothing() {
    let world = World::notified().await;
    for (content_type, body, status) in [
        ("application/json", b"{\"TransactionId\":1".to_vec(), 400),
        ("application/json; charset=windows-1251", b"{\"TransactionId\":1,\"Name\":\"\xc8\"}".to_vec(), 400),
        ("application/x-www-form-urlencoded", b"Amount=1.00".to_vec(), 400),
        ("application/x-www-form-urlencoded", Vec::new(), 400),
    ] {
        let reply = send(&world, Some(content_type), body).await;
        assert_eq!(reply.status, status, "{content_type}");
        assert_ne!(reply.body, r#"{"code":0}"#);
    }
    let large = sent(&world, None, vec![b'a'; 1 << 20]).await;
    assert!(large.as_ref().is_none_or(|reply| reply.status == 413), "{large:?}");
    for (method, path, status) in [
        (Method::PUT, "pay", 405),
        (Method::POST, "payment", 404),
        (Method::POST, "", 404),
        (Method::POST, "pay/x", 404),
    ] {
        let request = http_client().request(method, world.notification_url(path)).header("Content-HMAC", sign(b""));
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{path}");
    }
    assert_eq!(world.count("notification").await, 0);
}

/// Whose length nobody knows beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_read_up_to_the_same_size() {
    let world = World::notified().await;
    let small = b"TransactionId=9&Amount=1.00".to_vec();
    let answer = chunked(&world, &small).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(world.count("notification").await, 1);
    let large = chunked(&world, &vec![b'a'; 1 << 20]).await;
    assert!(large.as_ref().is_none_or(|answer| answer.starts_with("HTTP/1.1 413")), "{large:?}");
}

/// `None`: the connection was closed while the body was still being sent.
async fn chunked(world: &World, body: &[u8]) -> Option<String> {
    let mut tcp = TcpStream::connect(world.notifications.expect("taken")).await.expect("a connection");
    let head = format!(
        "POST /notifications/pay HTTP/1.1\r\nHost: billing\r\nTransfer-Encoding: chunked\r\nContent-HMAC: {}\r\n\r\n",
        sign(body)
    );
    tcp.write_all(head.as_bytes()).await.expect("written");
    let (mut from, mut to) = tcp.split();
    let sending = async {
        for chunk in body.chunks(16 * 1024) {
            let piece = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            // Who is refused is not listened to any more.
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.write_all(b"0\r\n\r\n").await;
    };
    let mut answer = vec![0; 1024];
    let (read, ()) = tokio::join!(from.read(&mut answer), sending);
    Some(String::from_utf8_lossy(&answer[..read.ok()?]).into_owned())
}
