//! An auth service (`auth.v1.Roles`, `auth.v1.Contacts`) with bad days: slow, dead, returning errors, taking what it does not acknowledge, and
//! coming to an end of calls that nobody waits for any more. It keeps the rule of the protocol – a lower version changes
//! nothing – and watches whether its client does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

mod proto {
    #![expect(clippy::allow_attributes, unreachable_pub, reason = "generated")]
    tonic::include_proto!("auth.v1");
}

use proto::contacts_server::{Contacts, ContactsServer};
use proto::roles_server::{Roles, RolesServer};
use proto::{GetReceiptContactRequest, GetReceiptContactResponse, SetRoleRequest, SetRoleResponse};

/// How it behaves. Each of the three faults meets every n-th call; 0: never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Before each response.
    pub slow: Duration,
    /// Answers an error, and in every second case has taken the role all the same.
    pub fails_every: u64,
    /// Says nothing until this time is over, and takes the role then: behind the deadline of the call.
    pub late_every: u64,
    pub late_by: Duration,
    /// Returns an error from every call.
    pub fails_always: bool,
}

/// A server of the auth service. It ends with the value.
pub struct AuthService {
    address: SocketAddr,
    /// What it shows its clients, where it speaks TLS.
    identity: Option<Identity>,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    conduct: Conduct,
    calls: u64,
    failed: u64,
    open: HashMap<String, usize>,
    open_at_most: usize,
    roles: HashMap<String, (String, i64)>,
    emails: HashMap<String, String>,
    /// The highest version that came, of each account.
    came: HashMap<String, i64>,
    overtaken: u64,
    broken: Vec<String>,
    authorization: Option<String>,
}

impl AuthService {
    /// On a port of its own.
    pub async fn start() -> Self {
        Self::start_as(None).await
    }

    /// Likewise, and it speaks TLS only, with this certificate of `localhost` and its key (PEM).
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        Self::start_as(Some(Identity::from_pem(certificate, key))).await
    }

    async fn start_as(identity: Option<Identity>) -> Self {
        let mut service = Self { address: ([127, 0, 0, 1], 0).into(), identity, state: Arc::default(), server: None };
        service.live().await;
        service
    }

    /// What its client is told.
    #[must_use]
    pub fn url(&self) -> String {
        match self.identity {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    pub fn behave(&self, conduct: Conduct) {
        self.state.lock().conduct = conduct;
    }

    /// Every connection breaks, and nobody listens any more. It keeps what it knows.
    pub async fn die(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// It listens again, at the same address.
    pub async fn live(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.address).await.expect("the port is free");
        self.address = listener.local_addr().expect("it has an address");
        let incoming = TcpIncoming::from(listener);
        let service = RolesServer::new(Service(Arc::clone(&self.state)));
        let contacts = ContactsServer::new(Service(Arc::clone(&self.state)));
        let mut server = Server::builder();
        if let Some(identity) = self.identity.clone() {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).expect("a certificate and its key");
        }
        self.server = Some(tokio::spawn(async move {
            let served = server.add_service(service).add_service(contacts).serve_with_incoming(incoming).await;
            served.expect("it serves until it is dropped");
        }));
    }

    /// From now on receipts of this account go there.
    pub fn reach(&self, account_id: &str, email: &str) {
        self.state.lock().emails.insert(account_id.to_owned(), email.to_owned());
    }

    /// The role of an account and its version.
    #[must_use]
    pub fn role(&self, account_id: &str) -> Option<(String, i64)> {
        self.state.lock().roles.get(account_id).cloned()
    }

    /// How many calls came.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many of them it failed, or let wait too long.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.state.lock().failed
    }

    /// How many came to their end after a later one, and changed nothing.
    #[must_use]
    pub fn overtaken(&self) -> u64 {
        self.state.lock().overtaken
    }

    /// The most calls that were open at once.
    #[must_use]
    pub fn open_at_most(&self) -> usize {
        self.state.lock().open_at_most
    }

    /// What its client has done against the protocol.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        self.state.lock().broken.clone()
    }

    /// How its client showed who it is, the last time.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        self.state.lock().authorization.clone()
    }
}

impl Drop for AuthService {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// What becomes of a call.
enum Fate {
    Answered,
    Failed { has_taken: bool },
    Late(Duration),
}

struct Service(Arc<Mutex<State>>);

#[tonic::async_trait]
impl Roles for Service {
    async fn set_role(&self, request: Request<SetRoleRequest>) -> Result<Response<SetRoleResponse>, Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.map(str::to_owned);
        let call = request.into_inner();
        let (fate, slow) = {
            let mut state = self.0.lock();
            state.authorization = authorization;
            (state.comes(&call), state.conduct.slow)
        };
        let _open = Open { state: Arc::clone(&self.0), account_id: call.account_id.clone() };
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        match fate {
            Fate::Answered => {
                self.0.lock().take(call);
                Ok(Response::new(SetRoleResponse {}))
            }
            Fate::Failed { has_taken } => {
                if has_taken {
                    self.0.lock().take(call);
                }
                Err(Status::unavailable("a bad day"))
            }
            Fate::Late(by) => {
                let state = Arc::clone(&self.0);
                // Whoever has called may hang up: that stops nothing.
                let taking = tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    state.lock().take(call);
                });
                let _ = taking.await;
                Ok(Response::new(SetRoleResponse {}))
            }
        }
    }
}

#[tonic::async_trait]
impl Contacts for Service {
    async fn get_receipt_contact(
        &self,
        request: Request<GetReceiptContactRequest>,
    ) -> Result<Response<GetReceiptContactResponse>, Status> {
        let (email, slow) = {
            let state = self.0.lock();
            (state.emails.get(&request.get_ref().account_id).cloned(), state.conduct.slow)
        };
        tokio::time::sleep(slow).await;
        Ok(Response::new(GetReceiptContactResponse { email: email.unwrap_or_default(), phone: String::new() }))
    }
}

impl State {
    fn comes(&mut self, call: &SetRoleRequest) -> Fate {
        self.calls += 1;
        let highest = self.came.entry(call.account_id.clone()).or_default();
        if call.version < *highest {
            self.broken.push(format!("{}: version {} came after {highest}", call.account_id, call.version));
        }
        *highest = call.version.max(*highest);
        *self.open.entry(call.account_id.clone()).or_default() += 1;
        self.open_at_most = self.open_at_most.max(self.open.values().sum());
        let Conduct { fails_every, late_every, late_by, fails_always, .. } = self.conduct;
        let meets = |every: u64| every > 0 && self.calls.is_multiple_of(every);
        let fate = if meets(late_every) {
            Fate::Late(late_by)
        } else if fails_always || meets(fails_every) {
            Fate::Failed { has_taken: !fails_always && self.failed.is_multiple_of(2) }
        } else {
            Fate::Answered
        };
        self.failed += u64::from(!matches!(fate, Fate::Answered));
        fate
    }

    fn take(&mut self, call: SetRoleRequest) {
        let known = self.roles.get(&call.account_id).map_or(0, |(_, version)| *version);
        if call.version > known {
            self.roles.insert(call.account_id, (call.role, call.version));
        } else if call.version < known {
            self.overtaken += 1;
        }
    }
}

/// A call that its client waits for.
struct Open {
    state: Arc<Mutex<State>>,
    account_id: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if let Some(open) = state.open.get_mut(&self.account_id) {
            *open -= 1;
        }
    }
}
