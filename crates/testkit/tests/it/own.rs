//! A server of one's own comes back on the same address, with what it may keep.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use testkit::{own_postgres, own_rabbitmq, own_redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

async fn connect(url: &str) -> std::io::Result<TcpStream> {
    let url = Url::parse(url).unwrap();
    TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await
}

/// The first answer to a line, or to AMQP's greeting.
async fn answers(url: &str, greeting: &[u8]) -> bool {
    let Ok(mut stream) = connect(url).await else { return false };
    stream.write_all(greeting).await.is_ok() && stream.read_u8().await.is_ok()
}

#[tokio::test]
async fn redis_stops_starts_and_can_be_killed() {
    let mut server = own_redis().await;
    let url = server.url().to_owned();
    assert!(answers(&url, b"PING\r\n").await);
    server.stop().await;
    assert!(connect(&url).await.is_err(), "it listens after its stop");
    server.start().await;
    assert_eq!(server.url(), url);
    assert!(answers(&url, b"PING\r\n").await);
    server.kill().await;
    assert!(connect(&url).await.is_err(), "it listens after its death");
    server.restart().await;
    assert!(answers(&url, b"PING\r\n").await);
    drop(server);
    assert!(connect(&url).await.is_err(), "it outlives its owner");
}

#[tokio::test]
async fn rabbitmq_survives_kill_and_restart() {
    let mut server = own_rabbitmq().await;
    let url = server.url().to_owned();
    server.kill().await;
    assert!(connect(&url).await.is_err(), "it listens after its death");
    server.start().await;
    assert!(answers(&url, b"AMQP\x00\x00\x09\x01").await);
    server.restart().await;
    assert_eq!(server.url(), url);
    assert!(answers(&url, b"AMQP\x00\x00\x09\x01").await);
}

#[tokio::test]
async fn postgres_keeps_what_was_committed_over_kill_and_restart() {
    let mut server = own_postgres().await;
    let connect = async |url: &str| AsyncPgConnection::establish(url).await;
    let mut session = connect(server.url()).await.unwrap();
    session.batch_execute("CREATE TABLE bill (id int)").await.unwrap();
    server.kill().await;
    assert!(session.batch_execute("SELECT 1").await.is_err(), "a session outlives the server");
    server.start().await;
    server.restart().await;
    connect(server.url()).await.unwrap().batch_execute("INSERT INTO bill VALUES (1)").await.unwrap();
}
