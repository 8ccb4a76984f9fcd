//! Pages that are kept up to date.

use std::time::Duration;

use celeriac_dashboard::Dashboard;
use listener::{Limits, Listener};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::{SOON, get};

struct Site {
    address: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Site {
    async fn open() -> Self {
        let app = celeriac::App::builder().broker("memory://").backend("memory://").build().await.unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let stop = CancellationToken::new();
        let pages = Dashboard::builder(app).shutdown(stop.clone()).into_router(address).unwrap();
        let limits = Limits { per_address: 1_000, in_all: 1_000, ..Limits::DEFAULT };
        let serving = tokio::spawn(Listener::new(tcp, limits).serve(pages, stop.clone()));
        Self { address: format!("http://{address}"), stop, serving }
    }

    async fn listen(&self) -> reqwest::Response {
        get(&format!("{}/live/overview", self.address)).await
    }
}

/// Pitfall: an open stream holds the shutdown.
#[tokio::test]
async fn open_pages_do_not_hold_the_end() {
    let site = Site::open().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = site.listen().await;
        let first = timeout(SOON, stream.chunk()).await.unwrap().unwrap().unwrap();
        let first = String::from_utf8_lossy(&first).into_owned();
        assert!(first.contains("event: part") && first.contains("No worker was heard of"), "{first}");
        streams.push(stream);
    }
    let began = Instant::now();
    site.stop.cancel();
    timeout(Duration::from_secs(2), site.serving).await.expect("within two seconds").unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn no_more_than_two_hundred_pages_are_kept_up_to_date_and_one_that_is_closed_makes_room() {
    let site = Site::open().await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let stream = site.listen().await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    assert_eq!(site.listen().await.status(), 503);
    drop(streams.pop());
    testkit::eventually(SOON, async || site.listen().await.status() == 200).await;
    site.stop.cancel();
}
