//! A RabbitMQ virtual host per test.

use std::sync::Mutex;

use anyhow::Context;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use crate::environment::setting;
use crate::names;

/// A virtual host of the test's own; deleted with this value.
pub struct Vhost {
    name: String,
    api: Management,
    /// Users that were made for it, who are deleted with it.
    users: Mutex<Vec<String>>,
}

/// What a user may do in a virtual host: regular expressions for the names of queues and exchanges.
#[derive(Clone, Copy, Debug)]
pub struct Permissions {
    pub configure: &'static str,
    pub write: &'static str,
    pub read: &'static str,
}

impl Permissions {
    pub const ALL: Self = Self { configure: ".*", write: ".*", read: ".*" };
}

impl Vhost {
    /// Its name; needs no escaping in a URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `amqp://user:password@127.0.0.1:port/name`
    pub fn amqp_url(&self) -> String {
        format!("{}/{}", setting("TEST_AMQP_URL").trim_end_matches('/'), self.name)
    }

    /// The same for another user, who is made for this and may do so much.
    pub async fn amqp_url_of(&self, user: &str, permissions: Permissions) -> String {
        let name = format!("{}-{user}", self.name);
        let account = json!({ "password": "secret", "tags": "" });
        let made = self.api.send(Method::PUT, &format!("users/{name}"), &account).await;
        made.and_then(|answer| Ok(answer.error_for_status()?)).expect("a user can be made");
        self.users.lock().expect("nobody panics with it").push(name.clone());
        self.permit(user, permissions).await;
        let mut url = Url::parse(&self.amqp_url()).expect("a URL");
        url.set_username(&name).expect("it has users");
        url.set_password(Some("secret")).expect("it has passwords");
        url.into()
    }

    /// Changes what a user of [`amqp_url_of`](Self::amqp_url_of) may do.
    pub async fn permit(&self, user: &str, permissions: Permissions) {
        let Permissions { configure, write, read } = permissions;
        let path = format!("permissions/{0}/{0}-{user}", self.name);
        let all = json!({ "configure": configure, "write": write, "read": read });
        let said = self.api.send(Method::PUT, &path, &all).await;
        said.and_then(|answer| Ok(answer.error_for_status()?)).expect("permissions can be changed");
    }

    /// Makes a policy for all queues whose names fit a pattern.
    pub async fn policy(&self, name: &str, pattern: &str, definition: Value) {
        let path = format!("policies/{}/{name}", self.name);
        let policy = json!({ "pattern": pattern, "definition": definition, "apply-to": "queues" });
        let made = self.api.send(Method::PUT, &path, &policy).await;
        made.and_then(|answer| Ok(answer.error_for_status()?)).expect("a policy can be made");
    }

    /// `http://user:password@127.0.0.1:port`, of the whole server.
    pub fn management_url(&self) -> String {
        setting("TEST_RABBITMQ_API")
    }

    /// A queue as the management API sees it, up to a second late.
    pub async fn queue(&self, queue: &str) -> Option<Value> {
        let queue = percent_encoding::utf8_percent_encode(queue, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("queues/{}/{queue}", self.name);
        self.api.get(&path).await.unwrap_or_else(|error| panic!("{path}: {error:#}"))
    }

    /// All open connections of the virtual host, up to a second late.
    pub async fn connections(&self) -> Vec<Value> {
        let path = format!("vhosts/{}/connections", self.name);
        let connections = self.api.get(&path).await.unwrap_or_else(|error| panic!("{path}: {error:#}"));
        connections.and_then(|list| list.as_array().cloned()).unwrap_or_default()
    }

    /// The operator closes every connection (AMQP 320 CONNECTION_FORCED) that the management API knows by now.
    /// Returns how many those were.
    pub async fn close_connections(&self) -> usize {
        let open = self.connections().await;
        for connection in &open {
            let name = connection["name"].as_str().expect("a connection has a name");
            let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            self.api.delete(&format!("connections/{name}")).await.expect("an operator may close a connection");
        }
        open.len()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let users = std::mem::take(&mut *self.users.lock().expect("nobody panics with it"));
        names::detached(async move {
            let api = Management::new()?;
            for user in users {
                api.delete(&format!("users/{user}")).await?;
            }
            api.delete(&format!("vhosts/{name}")).await
        });
    }
}

/// A new virtual host, empty, in which the user of `amqp_url` may do everything.
pub async fn rabbitmq() -> Vhost {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    let name = names::unique();
    let made = async {
        let api = Management::new()?;
        SWEPT.get_or_try_init(|| api.delete_orphans()).await?;
        api.create_vhost(&name).await?;
        anyhow::Ok(api)
    };
    let api = made.await.unwrap_or_else(|error| panic!("a virtual host: {error:#}"));
    Vhost { name, api, users: Mutex::default() }
}

struct Management {
    client: Client,
    base: Url,
}

impl Management {
    fn new() -> anyhow::Result<Self> {
        // The HTTP client wants a TLS provider even where it speaks plain HTTP. Somebody else may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = Url::parse(&setting("TEST_RABBITMQ_API")).context("TEST_RABBITMQ_API")?.join("/api/")?;
        Ok(Self { client: Client::builder().no_proxy().build()?, base })
    }

    async fn create_vhost(&self, name: &str) -> anyhow::Result<()> {
        self.send(Method::PUT, &format!("vhosts/{name}"), &json!({})).await?.error_for_status()?;
        let user = self.base.username();
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.send(Method::PUT, &format!("permissions/{name}/{user}"), &all).await?.error_for_status()?;
        Ok(())
    }

    async fn delete_orphans(&self) -> anyhow::Result<()> {
        let vhosts = self.get("vhosts").await?.unwrap_or_default();
        let names = vhosts.as_array().into_iter().flatten().filter_map(|vhost| vhost["name"].as_str());
        for orphan in names.filter(|name| names::is_orphan(name)) {
            self.delete(&format!("vhosts/{orphan}")).await?;
        }
        let users = self.get("users").await?.unwrap_or_default();
        let names = users.as_array().into_iter().flatten().filter_map(|user| user["name"].as_str());
        for orphan in names.filter(|name| names::is_orphan(name)) {
            self.delete(&format!("users/{orphan}")).await?;
        }
        Ok(())
    }

    /// `None` where there is no such thing.
    async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let response = self.send(Method::GET, path, &Value::Null).await?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(response.error_for_status()?.json().await?))
    }

    /// Also when it was gone already.
    async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let response = self.send(Method::DELETE, path, &Value::Null).await?;
        if response.status() != reqwest::StatusCode::NOT_FOUND {
            response.error_for_status()?;
        }
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<reqwest::Response> {
        let request = self.client.request(method, self.base.join(path)?).json(body);
        request.send().await.with_context(|| format!("the management API, {path}"))
    }
}
