//! Every test has its own corner of each shared server, and gives it back.

use std::sync::Mutex;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

const SOON: Duration = Duration::from_secs(20);

async fn connect(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.unwrap()
}

async fn count(connection: &mut AsyncPgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    diesel::sql_query(query).get_result::<Count>(connection).await.unwrap().count
}

#[tokio::test]
async fn a_database_is_empty_alone_and_dropped_at_the_end_even_when_in_use() {
    let mine = testkit::postgres().await;
    let other = testkit::postgres().await;
    let mut session = connect(mine.url()).await;
    session.batch_execute("CREATE TABLE bill (id int)").await.unwrap();

    let mut elsewhere = connect(other.url()).await;
    assert_eq!(count(&mut elsewhere, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await, 0);

    let name = mine.url().rsplit('/').next().unwrap().to_owned();
    drop(mine);
    let named = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    eventually(SOON, async || count(&mut connect(other.url()).await, &named).await == 0).await;
}

#[tokio::test]
async fn a_template_is_made_once_and_every_copy_is_its_own() {
    static MADE: Mutex<usize> = Mutex::new(0);
    let copy = || {
        testkit::postgres_from_template("bills", async |url: String| {
            *MADE.lock().unwrap() += 1;
            // Left open: making copies must not mind.
            let connection = Box::leak(Box::new(AsyncPgConnection::establish(&url).await?));
            connection.batch_execute("CREATE TABLE bill (id int); INSERT INTO bill VALUES (1)").await?;
            Ok(())
        })
    };
    let (first, second) = tokio::join!(copy(), copy());
    connect(first.url()).await.batch_execute("INSERT INTO bill VALUES (2)").await.unwrap();
    assert_eq!(count(&mut connect(first.url()).await, "SELECT count(*) FROM bill").await, 2);
    assert_eq!(count(&mut connect(second.url()).await, "SELECT count(*) FROM bill").await, 1);
    assert_eq!(*MADE.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_virtual_host_is_alone_and_deleted_at_the_end() {
    let mine = testkit::rabbitmq().await;
    let other = testkit::rabbitmq().await;
    assert!(mine.amqp_url().ends_with(mine.name()));
    put_queue(&mine, "payments").await;
    assert_eq!(mine.queue("payments").await.unwrap()["name"], "payments");
    assert!(other.queue("payments").await.is_none());
    assert!(mine.connections().await.is_empty());

    let api = mine.management_url();
    let name = mine.name().to_owned();
    drop(mine);
    let path = format!("/api/vhosts/{name}");
    eventually(SOON, async || http(&api, "GET", &path, "").await.contains("404")).await;
}

async fn put_queue(vhost: &testkit::Vhost, queue: &str) {
    let path = format!("/api/queues/{}/{queue}", vhost.name());
    let answer = http(&vhost.management_url(), "PUT", &path, "{}").await;
    assert!(answer.contains("201"), "{answer}");
}

/// The status line of an answer of the management API.
async fn http(api: &str, method: &str, path: &str, body: &str) -> String {
    use base64::Engine;
    let api = Url::parse(api).unwrap();
    let user = base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", api.username(), api.password().unwrap()));
    let request = format!(
        "{method} {path} HTTP/1.0\r\nAuthorization: Basic {user}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = tell(&api, &request).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Sends text and returns all that comes back until the server ends the connection.
async fn tell(server: &Url, text: &str) -> String {
    let mut stream = TcpStream::connect((server.host_str().unwrap(), server.port().unwrap())).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_redis_database_is_empty_and_alone() {
    let (mine, other) = tokio::join!(testkit::redis(), testkit::redis());
    assert_ne!(mine.url(), other.url());
    assert_eq!(redis(mine.url(), "SET balance 1\r\nDBSIZE").await, ["+OK", ":1"]);
    assert_eq!(redis(other.url(), "DBSIZE").await, [":0"]);
}

async fn redis(url: &str, commands: &str) -> Vec<String> {
    let url = Url::parse(url).unwrap();
    let number = url.path().trim_start_matches('/');
    let answer = tell(&url, &format!("SELECT {number}\r\n{commands}\r\nQUIT\r\n")).await;
    let lines: Vec<_> = answer.lines().map(str::to_owned).collect();
    lines[1..lines.len() - 1].to_vec()
}

#[tokio::test]
async fn python_has_the_peers_we_are_judged_by() {
    let script = tempfile::NamedTempFile::with_suffix(".py").unwrap();
    let code =
        "import sys, celery, kombu, flower, redis, cloudpayments, grpc_tools\nprint(celery.__version__, sys.argv[1])";
    std::fs::write(script.path(), code).unwrap();
    assert_eq!(testkit::run_python(script.path(), ["argument"]).await.trim(), "5.7.0 argument");
}

#[tokio::test]
#[should_panic(expected = "no such payment")]
async fn a_failing_script_fails_the_test_with_its_error_output() {
    let script = tempfile::NamedTempFile::with_suffix(".py").unwrap();
    std::fs::write(script.path(), "raise LookupError('no such payment')").unwrap();
    testkit::run_python::<&str>(script.path(), []).await;
}

#[test]
fn a_free_port_is_not_given_twice() {
    let ports: std::collections::HashSet<_> = (0..100).map(|_| testkit::free_port()).collect();
    assert_eq!(ports.len(), 100);
}
