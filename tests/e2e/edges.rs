//! What somebody can do to a role who can reach its ports and has no token.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use billing_api::proto::PaymentStatus;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::Request;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::Process;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::cinema::Cinema;
use crate::system::{System, listening};

const PATIENCE: Duration = Duration::from_secs(120);

/// A megabyte of a message that is said to have four, and then nothing.
fn endless_message() -> StreamBody<impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send> {
    static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
    let head = Bytes::from_static(&[0, 0, 60, 0, 0]);
    let pieces = std::iter::repeat_n(Bytes::from_static(&PIECE), 64);
    let frames = std::iter::once(head).chain(pieces).map(|bytes| Ok(Frame::data(bytes)));
    StreamBody::new(stream::iter(frames).chain(stream::pending()))
}

/// Calls a method on one connection many times at once. Returns how many calls were answered within a few seconds.
async fn flood(address: SocketAddr, path: &'static str, calls: usize) -> usize {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut answers = JoinSet::new();
    for _ in 0..calls {
        let request = Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(endless_message())
            .unwrap();
        if client.ready().await.is_err() {
            break;
        }
        answers.spawn(client.send_request(request));
    }
    let mut answered = 0;
    let counting = async {
        while let Some(answer) = answers.join_next().await {
            answered += usize::from(answer.unwrap().is_ok());
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), counting).await;
    answered
}

/// A figure of `/proc/PID/status`, in kilobytes.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("{status}"));
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_cannot_make_the_api_grow() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    cinema.sign_up().await;
    let before = memory(system.api_pid(), "VmRSS:");
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/billing.v1.Payments/CreatePayment",
    ] {
        let floods: JoinSet<_> = (0..4).map(|_| flood(system.api, path, 1000)).collect();
        let answered: usize = floods.join_all().await.into_iter().sum();
        assert!(answered > 0, "{path} does not even refuse");
        let peak = memory(system.api_pid(), "VmHWM:");
        assert!(peak < before + 64_000, "{path}: from {before} to {peak} kB");
        cinema.sign_up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_to_the_probes_of_a_worker_takes_nothing_from_its_work() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let settings = [("HEALTH_LISTEN", "127.0.0.1:0"), ("WORKER_NAME", "besieged@e2e")];
    let mut worker = system.worker_with_descriptors(256, &settings).await;
    let probes = listening(&mut worker).await;
    worker.wait_for_line("worker takes tasks", PATIENCE).await;
    let mut siege = Vec::new();
    for _ in 0..600 {
        siege.push(TcpStream::connect(probes).await.unwrap());
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", worker.pid())).unwrap().count();
    assert!(open < 192, "{open} of 256 descriptors are open");

    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let payment = cinema.pay(&cinema.sign_up().await).await;
    assert_eq!(cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);
    let url = format!("http://{probes}/readyz");
    let mut asked = Process::billing(&["health", &url], |_| ()).await;
    assert!(asked.wait(PATIENCE).await.success(), "{}", asked.output());
}
