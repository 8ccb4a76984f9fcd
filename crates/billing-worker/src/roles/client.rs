//! One call to the auth service.

use std::time::Duration;

use billing::store::roles::Push;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::auth::Connection;
use crate::auth::proto::SetRoleRequest;
use crate::auth::proto::roles_client::RolesClient;

/// The auth service. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub(crate) struct Client {
    roles: RolesClient<Channel>,
    connection: Connection,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(connection: Connection, timeout: Duration) -> Self {
        Self { roles: RolesClient::new(connection.channel.clone()), connection, timeout }
    }

    /// Tells a role; `Ok` once it is taken.
    ///
    /// # Errors
    /// What the auth service said, or that it said nothing in time: it may have taken the role, or take it yet.
    pub(super) async fn set_role(&self, push: &Push) -> Result<(), Status> {
        let message =
            SetRoleRequest { account_id: push.account_id.to_string(), role: push.role.clone(), version: push.version };
        let request = self.connection.request(message, self.timeout);
        let mut roles = self.roles.clone();
        match tokio::time::timeout(self.timeout, roles.set_role(request)).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(Status::new(Code::DeadlineExceeded, "no answer in time")),
        }
    }
}
