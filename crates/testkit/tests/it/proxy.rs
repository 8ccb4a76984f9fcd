//! Every fault does to connections what its documentation says.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use testkit::{FaultProxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(200);

/// A server that answers what it was told, and a proxy before it.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    FaultProxy::start(&address).await
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.unwrap()
}

async fn ask(stream: &mut TcpStream, question: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(question).await?;
    let mut answer = vec![0; question.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn bytes_pass_in_both_directions_and_so_does_the_end() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");

    let much = vec![7; 1_000_000];
    let (mut read, mut write) = stream.into_split();
    let sent = much.clone();
    tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    timeout(SOON, read.read_to_end(&mut received)).await.unwrap().unwrap();
    assert!(received == much, "{} bytes came back", received.len());
    eventually(SOON, async || proxy.open() == 0).await;
}

#[tokio::test]
async fn a_cut_resets_open_connections_and_lets_new_ones_pass() {
    let proxy = echo().await;
    let mut first = connect(&proxy).await;
    ask(&mut first, b"hello").await.unwrap();

    proxy.cut();
    let error = timeout(SOON, first.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let mut second = connect(&proxy).await;
    assert_eq!(ask(&mut second, b"again").await.unwrap(), b"again");
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn a_pause_holds_what_is_sent_until_it_ends() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"hello").await.unwrap();

    proxy.pause();
    stream.write_all(b"?").await.unwrap();
    assert!(timeout(A_WHILE, stream.read_u8()).await.is_err(), "a byte came through a pause");
    let mut late = connect(&proxy).await;
    late.write_all(b"!").await.unwrap();
    assert!(timeout(A_WHILE, late.read_u8()).await.is_err(), "a byte came through a pause");

    proxy.resume();
    assert_eq!(timeout(SOON, stream.read_u8()).await.unwrap().unwrap(), b'?');
    assert_eq!(timeout(SOON, late.read_u8()).await.unwrap().unwrap(), b'!');
}

#[tokio::test]
async fn a_paused_connection_can_be_cut() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"hello").await.unwrap();
    proxy.pause();
    stream.write_all(b"?").await.unwrap();
    proxy.cut();
    assert!(timeout(SOON, stream.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_delay_holds_every_piece_both_ways() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    proxy.delay(A_WHILE);
    let asked = Instant::now();
    ask(&mut stream, b"slow").await.unwrap();
    assert!(asked.elapsed() >= 2 * A_WHILE, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn while_it_refuses_open_connections_go_on() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"hello").await.unwrap();

    proxy.refuse().await;
    let error = TcpStream::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(&mut stream, b"still").await.unwrap(), b"still");

    proxy.accept().await;
    assert_eq!(ask(&mut connect(&proxy).await, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn without_a_server_behind_it_connections_are_reset() {
    let proxy = FaultProxy::start(&format!("amqp://guest:guest@127.0.0.1:{}/vhost", testkit::free_port())).await;
    let mut stream = connect(&proxy).await;
    assert!(timeout(SOON, stream.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_url_is_led_through_the_proxy() {
    let proxy = echo().await;
    let url = proxy.url("postgres://user:secret@127.0.0.1:5432/base?x=1");
    assert_eq!(url, format!("postgres://user:secret@{}/base?x=1", proxy.addr()));
}

#[tokio::test]
async fn its_connections_end_with_the_proxy() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"hello").await.unwrap();
    drop(proxy);
    assert!(timeout(SOON, stream.read_u8()).await.unwrap().is_err());
}
