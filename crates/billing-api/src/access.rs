//! `billing.v1.Access`

use billing::account::Access as Allowed;
use billing::db::Conn;
use billing::{AccountId, Services, store};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::caller::Caller;
use crate::deadline::Deadline;
use crate::error::{ApiError, Resource};
use crate::proto::access_server::Access;
use crate::proto::{
    AccessChange, AccountAccess, BatchCheckAccessRequest, BatchCheckAccessResponse, CheckAccessRequest,
    RegisterAccountRequest, WatchAccessRequest,
};
use crate::streams::Streams;
use crate::tail::Tail;
use crate::watch_access::WatchAccess;
use crate::writes::Writes;
use crate::{convert, validation};

pub(crate) struct AccessApi {
    pub(crate) services: Services,
    pub(crate) writes: Writes,
    pub(crate) tail: Tail,
    pub(crate) streams: Streams,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Access for AccessApi {
    type WatchAccessStream = BoxStream<'static, Result<AccessChange, Status>>;

    async fn register_account(
        &self,
        request: Request<RegisterAccountRequest>,
    ) -> Result<Response<AccountAccess>, Status> {
        let id = validation::account_id(&request.get_ref().account_id)?;
        let access = self.writes.finish(request.extensions(), register(self.services.clone(), id)).await?;
        Ok(Response::new(convert::access(id, &access)))
    }

    async fn check_access(&self, request: Request<CheckAccessRequest>) -> Result<Response<AccountAccess>, Status> {
        let id = validation::account_id(&request.get_ref().account_id)?;
        let access = self.check(id).await?;
        Ok(Response::new(convert::access(id, &access)))
    }

    async fn batch_check_access(
        &self,
        request: Request<BatchCheckAccessRequest>,
    ) -> Result<Response<BatchCheckAccessResponse>, Status> {
        let ids = validation::account_ids(&request.get_ref().account_ids)?;
        Ok(Response::new(self.check_all(ids).await?))
    }

    async fn watch_access(
        &self,
        request: Request<WatchAccessRequest>,
    ) -> Result<Response<Self::WatchAccessStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let token = validation::resume_token(&message.resume_token)?;
        let caller = Caller::of(&extensions)?;
        let deadline = Deadline::within(&extensions)?;
        let permit = self.streams.open(caller)?;
        let (services, shutdown) = (self.services.clone(), self.shutdown.clone());
        let watch = WatchAccess::open(services, &self.tail, token, deadline, shutdown, permit).await?;
        Ok(Response::new(watch.into_stream().boxed()))
    }
}

impl AccessApi {
    async fn check(&self, id: AccountId) -> Result<Allowed, ApiError> {
        let mut conn = self.services.db.conn().await?;
        allowed(&mut conn, id, self.services.db.now()).await
    }

    async fn check_all(&self, mut ids: Vec<AccountId>) -> Result<BatchCheckAccessResponse, ApiError> {
        ids.sort_unstable();
        ids.dedup();
        let mut conn = self.services.db.conn().await?;
        let known = store::accounts::access_of(&mut conn, &ids, self.services.db.now()).await?;
        drop(conn);
        let unknown = ids.iter().filter(|id| !known.iter().any(|(known, _)| known == *id));
        Ok(BatchCheckAccessResponse {
            unknown_account_ids: unknown.map(AccountId::to_string).collect(),
            accounts: known.iter().map(|(id, access)| convert::access(*id, access)).collect(),
        })
    }
}

async fn register(services: Services, id: AccountId) -> Result<Allowed, ApiError> {
    let mut conn = services.db.conn().await?;
    if store::accounts::register(&mut conn, id, services.time_zone, services.db.now()).await? {
        tracing::info!(account_id = %id, "account registered");
        services.bell.ring();
    }
    allowed(&mut conn, id, services.db.now()).await
}

async fn allowed(conn: &mut Conn, id: AccountId, now: DateTime<Utc>) -> Result<Allowed, ApiError> {
    let access = store::accounts::access(conn, id, now).await?;
    access.ok_or_else(|| ApiError::not_found(Resource::Account, &id))
}
