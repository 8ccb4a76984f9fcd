//! `billing.v1.Access`

use billing::account::Access as Allowed;
use billing::db::Conn;
use billing::{AccountId, Services, clock, store};
use tonic::{Request, Response, Status};

use crate::error::{ApiError, Resource};
use crate::proto::access_server::Access;
use crate::proto::{AccountAccess, CheckAccessRequest, RegisterAccountRequest};
use crate::writes::Writes;
use crate::{convert, validation};

pub(crate) struct AccessApi {
    pub(crate) services: Services,
    pub(crate) writes: Writes,
}

#[tonic::async_trait]
impl Access for AccessApi {
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
}

impl AccessApi {
    async fn check(&self, id: AccountId) -> Result<Allowed, ApiError> {
        let mut conn = self.services.db.conn().await?;
        allowed(&mut conn, id).await
    }
}

async fn register(services: Services, id: AccountId) -> Result<Allowed, ApiError> {
    let mut conn = services.db.conn().await?;
    if store::accounts::register(&mut conn, id, services.time_zone, clock::now()).await? {
        tracing::info!(account_id = %id, "account registered");
    }
    allowed(&mut conn, id).await
}

async fn allowed(conn: &mut Conn, id: AccountId) -> Result<Allowed, ApiError> {
    let access = store::accounts::access(conn, id, clock::now()).await?;
    access.ok_or_else(|| ApiError::not_found(Resource::Account, &id))
}
