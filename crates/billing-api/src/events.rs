//! `billing.v1.Events`

use std::time::Duration;

use billing::Services;
use billing::event::ResumeToken;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::caller::Caller;
use crate::convert;
use crate::deadline::Deadline;
use crate::error::ApiError;
use crate::follow::{Filter, Follow, Next};
use crate::proto::events_server::Events;
use crate::proto::{Event, WatchEventsRequest};
use crate::streams::{StreamPermit, Streams};
use crate::tail::Tail;
use crate::validation::{self, WatchEventsForm};

/// A database that could not be read is asked again after this.
pub(crate) const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct EventsApi {
    pub(crate) services: Services,
    pub(crate) tail: Tail,
    pub(crate) streams: Streams,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Events for EventsApi {
    type WatchStream = BoxStream<'static, Result<Event, Status>>;

    async fn watch(&self, request: Request<WatchEventsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let WatchEventsForm { token, kinds } = validation::watch_events(&message)?;
        let caller = Caller::of(&extensions)?;
        let deadline = Deadline::within(&extensions)?;
        let permit = self.streams.open(caller)?;
        let filter = Filter { kinds, account: caller.account };
        let follow = self.follow(token, filter, deadline, permit).await?;
        Ok(Response::new(told(follow).boxed()))
    }
}

impl EventsApi {
    async fn follow(
        &self,
        token: Option<ResumeToken>,
        filter: Filter,
        deadline: Deadline,
        permit: StreamPermit,
    ) -> Result<Follow, ApiError> {
        let (services, shutdown) = (self.services.clone(), self.shutdown.clone());
        Follow::open(services, &self.tail, token, filter, deadline, shutdown, permit).await
    }
}

/// Every event, until something ends the stream.
fn told(follow: Follow) -> impl Stream<Item = Result<Event, Status>> {
    stream::unfold(Some(follow), |follow| async move {
        let mut follow = follow?;
        match next(&mut follow).await {
            Ok(event) => Some((Ok(event), Some(follow))),
            Err(error) => Some((Err(Status::from(error)), None)),
        }
    })
}

async fn next(follow: &mut Follow) -> Result<Event, ApiError> {
    loop {
        match follow.next().await {
            Ok(Next::Event(event)) => return Ok(convert::event(&event, follow.token())),
            Ok(Next::CaughtUp) => follow.grown().await?,
            // The next look may be luckier; the caller is better off waiting here than calling again.
            Err(ApiError::Unavailable(error)) => {
                tracing::warn!(%error, "the event log cannot be read");
                tokio::time::sleep(READ_AGAIN_AFTER).await;
            }
            Err(error) => return Err(error),
        }
    }
}
