//! `billing.v1.Tariffs`

use billing::{Services, store};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::error::ApiError;
use crate::proto::tariffs_server::Tariffs;
use crate::proto::{ListTariffsRequest, ListTariffsResponse};

pub(crate) struct TariffsApi {
    pub(crate) services: Services,
}

#[tonic::async_trait]
impl Tariffs for TariffsApi {
    async fn list_tariffs(
        &self,
        _request: Request<ListTariffsRequest>,
    ) -> Result<Response<ListTariffsResponse>, Status> {
        let tariffs = self.list().await?;
        Ok(Response::new(ListTariffsResponse { tariffs }))
    }
}

impl TariffsApi {
    async fn list(&self) -> Result<Vec<crate::proto::Tariff>, ApiError> {
        let mut conn = self.services.db.conn().await?;
        let tariffs = store::tariffs::list(&mut conn, self.services.db.now()).await?;
        Ok(tariffs.into_iter().map(convert::tariff).collect())
    }
}
