//! Somebody with a browser: it keeps cookies, follows where it is sent, and sends forms.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, redirect};
use url::Url;

use super::panel::Panel;

const MOST_REDIRECTS: usize = 20;

#[derive(Clone)]
pub(super) struct Person {
    http: Client,
    /// By the server and their names.
    cookies: BTreeMap<(String, String), String>,
    stops_at: Option<&'static str>,
}

pub(super) struct Seen {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) body: String,
    /// All that was asked for on the way.
    pub(super) passed: Vec<Url>,
}

impl Seen {
    /// And the query.
    pub(super) fn path(&self) -> String {
        let query = self.url.query().map_or_else(String::new, |query| format!("?{query}"));
        format!("{}{query}", self.url.path())
    }

    /// A form that sends itself: where to, and its fields.
    fn script_form(&self) -> Option<(String, Vec<(String, String)>)> {
        let after = |text: &str, mark: &str| Some(text.split_once(mark)?.1.split_once('"')?.0.to_owned());
        self.body.contains("document.forms[0].submit()").then_some(())?;
        let field = |input| Some((after(input, "name=\"")?, after(input, "value=\"")?));
        let fields = self.body.split("<input").skip(1).map(field).collect::<Option<_>>()?;
        Some((after(&self.body, "action=\"")?, fields))
    }

    /// The first link with this text in it.
    pub(super) fn link(&self, text: &str) -> Option<String> {
        let mut links = self.body.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
        links.find(|(link, _)| link.contains(text)).map(|(link, _)| link.replace("&#38;", "&").replace("&amp;", "&"))
    }
}

impl Person {
    pub(super) fn new() -> Self {
        let http = Client::builder().redirect(redirect::Policy::none()).no_proxy();
        // Nothing here is reached over TLS.
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the defaults are sound")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = http.tls_backend_preconfigured(tls).build().expect("a client");
        Self { http, cookies: BTreeMap::new(), stops_at: None }
    }

    /// Does not follow to an address with this path.
    pub(super) fn stops_at(&mut self, path: &'static str) {
        self.stops_at = Some(path);
    }

    pub(super) fn goes_on(&mut self) {
        self.stops_at = None;
    }

    pub(super) async fn get(&mut self, url: &str) -> Seen {
        self.follow(Method::GET, url.parse().expect("an address"), None).await
    }

    /// Sends a form that stood on a page with a token of the session.
    pub(super) async fn post(&mut self, url: &str, fields: &[(&str, &str)], page: &str) -> Seen {
        let token = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split_once('"'));
        let mut form: Vec<(String, String)> =
            fields.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        form.extend(token.map(|(token, _)| ("csrf".to_owned(), token.to_owned())));
        self.follow(Method::POST, url.parse().expect("an address"), Some(form)).await
    }

    async fn follow(&mut self, mut method: Method, mut url: Url, mut form: Option<Vec<(String, String)>>) -> Seen {
        let mut passed = Vec::new();
        loop {
            assert!(passed.len() < MOST_REDIRECTS, "{passed:?}");
            passed.push(url.clone());
            let server = url.authority().to_owned();
            let own = self.cookies.iter().filter(|((of, _), _)| *of == server);
            let cookies: Vec<_> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
            let mut request = self.http.request(method.clone(), url.clone()).header(COOKIE, cookies.join("; "));
            request = request.header("accept-language", "en");
            if let Some(form) = form.take() {
                request = request.form(&form);
            }
            let response = request.send().await.expect("the server answers");
            for set in response.headers().get_all(SET_COOKIE) {
                let set = set.to_str().expect("text");
                let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
                let (name, value) = pair.split_once('=').expect("a name");
                let key = (server.clone(), name.to_owned());
                if value.is_empty() || attributes.to_lowercase().contains("max-age=0") {
                    self.cookies.remove(&key);
                } else {
                    self.cookies.insert(key, value.to_owned());
                }
            }
            let to =
                response.headers().get(LOCATION).map(|to| url.join(to.to_str().expect("text")).expect("an address"));
            match to.filter(|_| response.status().is_redirection()) {
                Some(to) if self.stops_at == Some(to.path()) => {
                    return Seen { url: to, status: response.status().as_u16(), body: String::new(), passed };
                }
                Some(to) => (method, url) = (Method::GET, to),
                None => {
                    let status = response.status().as_u16();
                    return Seen { url, status, body: response.text().await.expect("text"), passed };
                }
            }
        }
    }

    /// Signs in at the provider, if it asks, and comes back.
    pub(super) async fn sign_in(&mut self, panel: &Panel, to: &str, login: &str, amr: &str) -> Seen {
        let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
        self.begin(panel, &panel.at(&format!("/login/oidc?to={to}")), login, amr).await
    }

    pub(super) async fn begin(&mut self, panel: &Panel, url: &str, login: &str, amr: &str) -> Seen {
        let mut seen = self.get(url).await;
        if seen.url.as_str().starts_with(&panel.issuer) && seen.url.path().starts_with("/interaction/") {
            let there = seen.url.to_string();
            let before = std::mem::take(&mut seen.passed);
            seen = self.post(&there, &[("login", login), ("amr", amr)], "").await;
            // Another account was signed in there: a form that a script would send ends that first.
            if let Some((action, fields)) = seen.script_form() {
                let fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                seen = self.post(&action, &fields, "").await;
            }
            seen.passed.splice(0..0, before);
        }
        seen
    }

    /// Is asked again who they are.
    pub(super) async fn prove(&mut self, panel: &Panel, login: &str) -> Seen {
        let seen = self.begin(panel, &panel.at("/me/again"), login, "pwd").await;
        assert!(seen.passed.iter().any(|url| url.path().starts_with("/interaction/")), "they are asked");
        seen
    }
}
