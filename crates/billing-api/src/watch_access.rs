//! A stream of who has access: first everybody, then each change.

use std::collections::VecDeque;

use billing::event::{EventKind, ResumeToken};
use billing::{AccountId, Services, store};
use futures_util::{Stream, stream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::convert;
use crate::deadline::Deadline;
use crate::error::ApiError;
use crate::events::READ_AGAIN_AFTER;
use crate::follow::{Filter, Follow, Next};
use crate::proto::AccessChange;
use crate::streams::StreamPermit;
use crate::tail::Tail;

/// Accounts of the snapshot read at once.
const PAGE: i64 = 1_000;

/// What may change somebody's access.
const KINDS: [EventKind; 5] = [
    EventKind::AccessGranted,
    EventKind::AccessEnds,
    EventKind::AccessEnded,
    EventKind::RenewalRefused,
    EventKind::TariffChanged,
];

/// One stream. Dropping it ends everything that belongs to it.
pub(crate) struct WatchAccess {
    services: Services,
    follow: Follow,
    snapshot: Snapshot,
    /// An event says that this account's access may have changed, and that was not told yet.
    changed: Option<AccountId>,
    /// The place the caller was last told.
    told: Option<ResumeToken>,
}

/// How much of everybody was told.
enum Snapshot {
    Page { after: Option<AccountId>, read: VecDeque<AccessChange> },
    Told,
}

impl WatchAccess {
    /// Takes its place in the log first and the snapshot after it: what changes in between is told again, not missed.
    pub(crate) async fn open(
        services: Services,
        tail: &Tail,
        token: Option<ResumeToken>,
        deadline: Deadline,
        shutdown: CancellationToken,
        permit: StreamPermit,
    ) -> Result<Self, ApiError> {
        let filter = Filter { kinds: KINDS.to_vec(), account: None };
        let follow = Follow::open(services.clone(), tail, token, filter, deadline, shutdown, permit).await?;
        let snapshot = match token {
            Some(_) => Snapshot::Told,
            None => Snapshot::Page { after: None, read: VecDeque::new() },
        };
        Ok(Self { services, follow, snapshot, changed: None, told: token })
    }

    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<AccessChange, Status>> {
        stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(change) => Some((Ok(change), Some(watch))),
                Err(error) => Some((Err(Status::from(error)), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<AccessChange, ApiError> {
        loop {
            match self.look().await {
                Ok(Some(change)) => return Ok(change),
                Ok(None) => self.follow.grown().await?,
                // The next look may be luckier; the caller is better off waiting here than calling again.
                Err(ApiError::Unavailable(error)) => {
                    tracing::warn!(%error, "a stream of access cannot be read");
                    tokio::time::sleep(READ_AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What there is to tell now.
    async fn look(&mut self) -> Result<Option<AccessChange>, ApiError> {
        if let Some(change) = self.of_snapshot().await? {
            return Ok(Some(change));
        }
        loop {
            if let Some(account_id) = self.changed {
                let mut conn = self.services.db.conn().await?;
                let access = store::accounts::access(&mut conn, account_id, self.services.db.now()).await?;
                let access = access.map(|access| convert::access(account_id, &access));
                self.changed = None;
                return Ok(Some(self.at_this_place(AccessChange { access, resume_token: String::new() })));
            }
            match self.follow.next().await? {
                Next::Event(event) => self.changed = event.account_id,
                Next::CaughtUp if self.told != Some(self.follow.token()) => {
                    return Ok(Some(self.at_this_place(AccessChange::default())));
                }
                Next::CaughtUp => return Ok(None),
            }
        }
    }

    fn at_this_place(&mut self, change: AccessChange) -> AccessChange {
        let token = self.follow.token();
        self.told = Some(token);
        AccessChange { resume_token: token.to_string(), ..change }
    }

    async fn of_snapshot(&mut self) -> Result<Option<AccessChange>, ApiError> {
        let Snapshot::Page { after, read } = &mut self.snapshot else { return Ok(None) };
        if let Some(change) = read.pop_front() {
            return Ok(Some(change));
        }
        let mut conn = self.services.db.conn().await?;
        let page = store::accounts::access_after(&mut conn, *after, self.services.db.now(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            self.snapshot = Snapshot::Told;
            return Ok(None);
        };
        *after = Some(*last);
        *read = page
            .iter()
            .map(|(id, access)| AccessChange {
                access: Some(convert::access(*id, access)),
                resume_token: String::new(),
            })
            .collect();
        Ok(read.pop_front())
    }
}
