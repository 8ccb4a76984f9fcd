//! Sends notifications when they are due, and checks while a payment waits.

use std::sync::{Arc, OnceLock};

use reqwest::{Client, header::CONTENT_TYPE, redirect};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

use super::Gateway;
use crate::{
    ledger::Change,
    notification::{
        body::{self, Written},
        outbox::{Notice, NoticeId, Try},
        reply::{MAX_REPLY, Outcome},
        settings::Method,
    },
};

/// Notifications under way at a time.
const MAX_UNDER_WAY: usize = 64;

/// The clients that carry notifications: one knows the certificate authorities of this machine and is made when an
/// address needs it.
#[derive(Default)]
pub(crate) struct Post {
    plain: OnceLock<Result<Client, String>>,
    tls: OnceLock<Result<Client, String>>,
}

impl Post {
    fn client(&self, address: &str) -> Result<&Client, String> {
        let (client, roots) = if address.starts_with("https:") { (&self.tls, true) } else { (&self.plain, false) };
        client.get_or_init(|| make_client(roots)).as_ref().map_err(Clone::clone)
    }
}

fn make_client(trusting_this_machine: bool) -> Result<Client, String> {
    let mut roots = rustls::RootCertStore::empty();
    if trusting_this_machine {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The gateway follows nobody, and asks no proxy for an address on the developer's machine.
    let client = Client::builder().tls_backend_preconfigured(tls).redirect(redirect::Policy::none()).no_proxy();
    client.build().map_err(|error| error.to_string())
}

/// Does what is due and sends what is due until the sandbox goes down.
pub(crate) async fn run(gateway: Arc<Gateway>) {
    let mut under_way = JoinSet::new();
    loop {
        let room = MAX_UNDER_WAY.saturating_sub(under_way.len());
        // Somebody may be asked whether he wants a payment, and take his time.
        let kept = tokio::select! {
            () = gateway.shutdown.cancelled() => return,
            kept = gateway.keep_time() => kept,
        };
        let (due, next) = {
            let mut books = gateway.books.lock();
            let due = books.ledger.outbox_mut().take_due(gateway.clock.now(), room);
            let next_send = books.ledger.outbox().next_due().filter(|_| room > 0);
            let next_task = books.ledger.next_task().map(|(at, _)| *at).filter(|_| kept);
            (due, next_send.into_iter().chain(next_task).min())
        };
        for notice in due {
            let gateway = Arc::clone(&gateway);
            under_way.spawn(async move { gateway.deliver(&notice).await });
        }
        let alarm = async {
            match next {
                Some(moment) => tokio::time::sleep(gateway.clock.until(moment)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gateway.shutdown.cancelled() => return,
            () = gateway.clock.rung() => {}
            () = alarm => {}
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
        }
    }
}

impl Gateway {
    /// Sends a notification that was taken from the outbox, once, and writes down how it ended.
    pub(super) async fn deliver(&self, notice: &Notice) -> Outcome {
        let outcome = self.send(notice).await;
        tracing::debug!(kind = notice.kind.name(), notice = %notice.id, outcome = outcome.describe(), "notified");
        let tried = Try { notice_id: notice.id, at: self.clock.now(), outcome: outcome.clone() };
        {
            let mut books = self.books.lock();
            if let Err(error) = books.record(vec![Change::Try(tried.clone())]) {
                // After a restart it is tried again; the shop must be ready for that anyway.
                tracing::error!(%error, "cannot write the ledger file");
                books.ledger.apply(Change::Try(tried));
            }
        }
        self.sent.notify_waiters();
        self.clock.ring();
        outcome
    }

    async fn send(&self, notice: &Notice) -> Outcome {
        let settings = self.books.lock().ledger.site().get(notice.kind).clone();
        let Some(address) = settings.target() else {
            return Outcome::Silence("this kind of notification is turned off".to_owned());
        };
        let client = match self.post.client(address) {
            Ok(client) => client,
            Err(error) => return Outcome::Silence(error),
        };
        let written = body::write(&notice.fields, &settings, address, self.api_secret.expose_secret());
        let exchange = exchange(client, written);
        tokio::time::timeout(self.reply_timeout, exchange)
            .await
            .unwrap_or_else(|_| Outcome::Silence(format!("no reply within {:?}", self.reply_timeout)))
    }

    /// Waits until each of these has been tried once.
    pub(super) async fn until_told(&self, notices: &[NoticeId]) {
        loop {
            let sent = self.sent.notified();
            let is_told = |id: &NoticeId| {
                let books = self.books.lock();
                books.ledger.outbox().get(*id).is_none_or(|delivery| delivery.tries > 0)
            };
            if notices.iter().all(is_told) || self.shutdown.is_cancelled() {
                return;
            }
            tokio::select! {
                () = sent => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Sends one again, now, as a person wants it. `None`: there is no such notification, or it is under way.
    pub(super) async fn send_again(&self, id: NoticeId) -> Option<Outcome> {
        let notice = self.books.lock().ledger.outbox_mut().take(id)?;
        Some(self.deliver(&notice).await)
    }
}

async fn exchange(client: &Client, written: Written) -> Outcome {
    let request = match written.method {
        Method::Get => client.get(&written.address),
        Method::Post => client.post(&written.address),
    };
    let request = request.header("Content-HMAC", written.content_hmac).header("X-Content-HMAC", written.x_content_hmac);
    let request = match written.body {
        Some(body) => request.header(CONTENT_TYPE, body.content_type).body(body.bytes),
        None => request,
    };
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return silence(&error),
    };
    let mut reply = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if reply.len() + chunk.len() <= MAX_REPLY => reply.extend_from_slice(&chunk),
            Ok(Some(_)) => return Outcome::Unreadable,
            Ok(None) => return Outcome::of_reply(response.status().as_u16(), &reply),
            Err(error) => return silence(&error),
        }
    }
}

/// The innermost cause says what happened; the outer ones repeat the address, which may have fields in its query.
fn silence(error: &reqwest::Error) -> Outcome {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Outcome::Silence(cause.to_string())
}
