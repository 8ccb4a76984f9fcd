//! What the provider is asked, and what it says of who comes back.

use std::path::Path;
use std::sync::Mutex as ShortMutex;
use std::sync::PoisonError;
use std::time::Duration;

use billing::store::staff::{ByProvider, Identity};
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{
    CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreIdToken,
    CoreIdTokenClaims, CoreJsonWebKeySet, CoreJwsSigningAlgorithm, CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::config::is_safe;
use super::flow::{Flow, Purpose};
use super::http::Http;
use crate::config::StartError;

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// How an ID token may be signed: by what nobody else has. Not by the secret that the panel shares with the provider, and never
/// by nothing.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 5] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// Nobody waits for the provider any longer, whatever all has to be asked.
const DEADLINE: Duration = Duration::from_secs(9);
/// What it says of itself is asked for again after this,
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// its keys, for a token signed with one that is not known, no more often than this,
const KEYS_EVERY: Duration = Duration::from_secs(10);
/// and nothing so shortly after it could not be reached.
const DOWN_FOR: Duration = Duration::from_secs(3);
/// How far its clock and ours may be apart.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);
/// A token is shown right after it was made.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// The longest subject (OpenID Connect Core, 2), in bytes.
const MAX_SUBJECT: usize = 255;

/// Why the provider did not say who comes. Each names a thing to do; none has anything of a token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It cannot be reached, not in time, or does not speak OpenID Connect.
    Down,
    /// It does not know the panel, or not by this secret.
    Client,
    /// It does not take the code: it was used, or it is too old.
    Code,
    /// What it says is not to be believed.
    Token(&'static str),
    /// It was to ask again who they are, and did not.
    NotAsked,
}

/// What it says of who comes back, verified.
pub(crate) struct Told {
    pub(crate) identity: Identity,
    pub(crate) verified_email: Option<String>,
    pub(crate) by: ByProvider,
}

/// The company's provider.
pub(crate) struct Provider {
    http: Http,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<SecretString>,
    back: RedirectUrl,
    after_sign_out: PostLogoutRedirectUrl,
    /// What `amr` or `acr` say where a second factor was shown.
    mfa: Vec<String>,
    only: bool,
    known: Mutex<Known>,
    sign_out: ShortMutex<Option<Url>>,
}

/// What the provider says of itself, its keys among it.
#[derive(Default)]
struct Known {
    metadata: Option<(ProviderMetadataWithLogout, Instant)>,
    failed_at: Option<Instant>,
    keys_asked_at: Option<Instant>,
}

impl Provider {
    pub(super) fn new(
        issuer: &str,
        client_id: &str,
        client_secret: Option<SecretString>,
        address: &Url,
        mfa: Vec<String>,
        only: bool,
        authorities: Option<&Path>,
    ) -> Result<Self, StartError> {
        let wrong = |name| move |error: url::ParseError| StartError::Setting { name, problem: error.to_string() };
        let issuer = IssuerUrl::new(issuer.to_owned()).map_err(wrong("ADMIN_OIDC_ISSUER"))?;
        let at = |path| address.join(path).map_err(wrong("ADMIN_ADDRESS"));
        Ok(Self {
            http: Http::new(issuer.url(), authorities)?,
            issuer,
            client_id: ClientId::new(client_id.to_owned()),
            client_secret,
            back: RedirectUrl::from_url(at("/login/oidc/callback")?),
            after_sign_out: PostLogoutRedirectUrl::from_url(at("/login")?),
            mfa,
            only,
            known: Mutex::default(),
            sign_out: ShortMutex::default(),
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// Nobody else says who somebody is.
    pub(crate) const fn is_only(&self) -> bool {
        self.only
    }

    /// Where somebody is sent to.
    pub(crate) async fn begin(&self, flow: &Flow) -> Result<Url, Failed> {
        let metadata = within(async { self.metadata().await }).await?;
        let (state, nonce) = (flow.state(), flow.nonce.expose_secret().to_owned());
        let verifier = PkceCodeVerifier::new(flow.verifier.expose_secret().to_owned());
        let client = self.client(metadata);
        let request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        let request = match flow.purpose {
            Purpose::Prove(_) => request.add_prompt(CoreAuthPrompt::Login).set_max_age(Duration::ZERO),
            Purpose::SignIn { .. } | Purpose::Invitation(_) => request,
        };
        Ok(request.url().0)
    }

    /// Who has come back with this code.
    pub(crate) async fn finish(&self, code: &str, flow: &Flow, now: DateTime<Utc>) -> Result<Told, Failed> {
        within(self.tell(code, flow, now)).await
    }

    async fn tell(&self, code: &str, flow: &Flow, now: DateTime<Utc>) -> Result<Told, Failed> {
        let mut metadata = self.metadata().await?;
        let client = self.client(metadata.clone());
        let tokens: CoreTokenResponse = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| down("it has no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(flow.verifier.expose_secret().to_owned()))
            .request_async(&self.http)
            .await
            .map_err(|error| no_tokens(&error))?;
        let id_token = tokens.id_token().ok_or(Failed::Token("there is no ID token"))?;
        let nonce = Nonce::new(flow.nonce.expose_secret().to_owned());
        let verified = match self.verify(&metadata, id_token, &tokens, &nonce, now) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                metadata = self.with_new_keys().await?;
                self.verify(&metadata, id_token, &tokens, &nonce, now)
            }
            verified => verified,
        };
        let claims = verified.map_err(|error| Failed::Token(why(&error)))?;
        if matches!(flow.purpose, Purpose::Prove(_)) && !was_asked(claims.auth_time(), flow.began_at, now) {
            return Err(Failed::NotAsked);
        }
        let subject = claims.subject();
        if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.contains(char::is_control) {
            return Err(Failed::Token("it names nobody (`sub`)"));
        }
        let mut verified_email = email(claims.email().map(|email| email.as_str()), claims.email_verified());
        if verified_email.is_none() && matches!(flow.purpose, Purpose::SignIn { .. }) {
            verified_email = self.email_of(&client, &tokens, claims).await;
        }
        let identity = Identity { issuer: self.issuer().to_owned(), subject: subject.as_str().to_owned() };
        let by = ByProvider {
            issuer: self.issuer().to_owned(),
            authenticated_at: claims.auth_time(),
            has_shown_factor: self.is_factor(claims),
        };
        Ok(Told { identity, verified_email, by })
    }

    fn verify<'t>(
        &self,
        metadata: &ProviderMetadataWithLogout,
        id_token: &'t CoreIdToken,
        tokens: &CoreTokenResponse,
        nonce: &Nonce,
        now: DateTime<Utc>,
    ) -> Result<&'t CoreIdTokenClaims, ClaimsVerificationError> {
        let client = self.client(metadata.clone());
        let is_fresh = move |made: DateTime<Utc>| {
            let is_fresh = made - LEEWAY <= now && now - made <= MAX_AGE;
            if is_fresh { Ok(()) } else { Err("it was not made just now".to_owned()) }
        };
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || now)
            .set_issue_time_verifier_fn(is_fresh);
        let claims = id_token.claims(&verifier, nonce)?;
        if claims.authorized_party().is_some_and(|party| *party != self.client_id) {
            return Err(ClaimsVerificationError::InvalidAudience("it is for another".to_owned()));
        }
        if let Some(expected) = claims.access_token_hash() {
            let broken = |error| ClaimsVerificationError::SignatureVerification(error);
            let (algorithm, key) = (id_token.signing_alg().map_err(broken)?, id_token.signing_key(&verifier));
            let actual = AccessTokenHash::from_token(tokens.access_token(), algorithm, key.map_err(broken)?);
            if actual.ok().as_ref() != Some(expected) {
                return Err(ClaimsVerificationError::Other("its access token is another's".to_owned()));
            }
        }
        Ok(claims)
    }

    /// Many providers put the address of e-mail there, and not into the ID token.
    async fn email_of(
        &self,
        client: &Client,
        tokens: &CoreTokenResponse,
        claims: &CoreIdTokenClaims,
    ) -> Option<String> {
        let request = client.user_info(tokens.access_token().clone(), Some(claims.subject().clone())).ok()?;
        match request.request_async(&self.http).await {
            Ok(told) => {
                let told: CoreUserInfoClaims = told;
                email(told.email().map(|email| email.as_str()), told.email_verified())
            }
            Err(_) => {
                tracing::warn!("the provider of sign-in does not say what address of e-mail somebody has");
                None
            }
        }
    }

    fn is_factor(&self, claims: &CoreIdTokenClaims) -> bool {
        let counts = |value: &str| self.mfa.iter().any(|counts| counts == value);
        let amr = claims.auth_method_refs().into_iter().flatten().any(|how| counts(how));
        amr || claims.auth_context_ref().is_some_and(|class| counts(class))
    }

    /// Where somebody signs out there, if the provider was asked already, and says so.
    pub(crate) fn sign_out(&self) -> Option<String> {
        let url = self.sign_out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        url.map(Url::into)
    }

    fn client(&self, metadata: ProviderMetadataWithLogout) -> Client {
        let secret = self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
        let methods = metadata.token_endpoint_auth_methods_supported();
        let in_body = methods.is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let client = CoreClient::from_provider_metadata(metadata, self.client_id.clone(), secret);
        let client = client.set_redirect_uri(self.back.clone());
        if in_body { client.set_auth_type(AuthType::RequestBody) } else { client }
    }

    /// What it says of itself. Who comes meanwhile waits for the same response; what is known goes on while it is down.
    async fn metadata(&self) -> Result<ProviderMetadataWithLogout, Failed> {
        let mut known = self.known.lock().await;
        let is_down = known.failed_at.is_some_and(|at| at.elapsed() < DOWN_FOR);
        if let Some((metadata, at)) = &known.metadata
            && (is_down || at.elapsed() < KNOWN_FOR)
        {
            return Ok(metadata.clone());
        }
        if is_down {
            return Err(Failed::Down);
        }
        // Should nobody wait for it until its end, it was down.
        known.failed_at = Some(Instant::now());
        match ProviderMetadataWithLogout::discover_async(self.issuer.clone(), &self.http).await {
            Ok(metadata) if is_safe(metadata.authorization_endpoint().url()) => {
                let end = metadata.additional_metadata().end_session_endpoint.clone();
                let end = end.filter(|end| is_safe(end.url())).map(|end| {
                    LogoutRequest::from(end)
                        .set_client_id(self.client_id.clone())
                        .set_post_logout_redirect_uri(self.after_sign_out.clone())
                        .http_get_url()
                });
                *self.sign_out.lock().unwrap_or_else(PoisonError::into_inner) = end;
                *known = Known { metadata: Some((metadata.clone(), Instant::now())), ..Known::default() };
                Ok(metadata)
            }
            Ok(_) => Err(down("its page of sign-in is not reached over https")),
            Err(error) => {
                let failed = down(&with_causes(&error));
                known.failed_at = Some(Instant::now());
                known.metadata.as_ref().map(|(metadata, _)| metadata.clone()).ok_or(failed)
            }
        }
    }

    /// A token is signed with a key that is not known: the keys may have been changed.
    async fn with_new_keys(&self) -> Result<ProviderMetadataWithLogout, Failed> {
        let mut known = self.known.lock().await;
        let is_soon = known.keys_asked_at.is_some_and(|at| at.elapsed() < KEYS_EVERY);
        let Some((metadata, at)) = known.metadata.clone() else { return Err(Failed::Down) };
        if is_soon {
            return Ok(metadata);
        }
        known.keys_asked_at = Some(Instant::now());
        let keys = CoreJsonWebKeySet::fetch_async(metadata.jwks_uri(), &self.http).await;
        let metadata = metadata.set_jwks(keys.map_err(|error| down(&with_causes(&error)))?);
        known.metadata = Some((metadata.clone(), at));
        Ok(metadata)
    }
}

async fn within<T>(asking: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| Err(down("it does not answer in time")))
}

fn down(problem: &str) -> Failed {
    tracing::warn!(problem, "the provider of sign-in cannot be asked");
    Failed::Down
}

/// Only what it says is verified, in lower case, as names are kept.
fn email(address: Option<&str>, is_verified: Option<bool>) -> Option<String> {
    address.filter(|_| is_verified == Some(true)).map(str::to_lowercase)
}

/// Whether it had them show who they are since then.
fn was_asked(at: Option<DateTime<Utc>>, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at.is_some_and(|at| since - LEEWAY <= at && at <= now + LEEWAY)
}

fn no_tokens<E: std::error::Error + 'static>(
    error: &RequestTokenError<E, openidconnect::StandardErrorResponse<CoreErrorResponseType>>,
) -> Failed {
    match error {
        RequestTokenError::ServerResponse(said) => match said.error() {
            CoreErrorResponseType::InvalidGrant => Failed::Code,
            other => {
                tracing::error!(error = %other, "the provider of sign-in refuses the panel: ADMIN_OIDC_CLIENT_ID, _SECRET");
                Failed::Client
            }
        },
        RequestTokenError::Request(error) => down(&with_causes(error)),
        RequestTokenError::Parse(..) => Failed::Token("it cannot be read"),
        RequestTokenError::Other(_) => Failed::Token("there is none"),
    }
}

/// In words of ours: theirs quote what was received.
const fn why(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "it is too old, or from the future: are both clocks right?",
        ClaimsVerificationError::InvalidAudience(_) => "it is for another (`aud`, `azp`)",
        ClaimsVerificationError::InvalidIssuer(_) => "it is of another issuer (`iss`)",
        ClaimsVerificationError::InvalidNonce(_) => "it is of another sign-in (`nonce`)",
        ClaimsVerificationError::SignatureVerification(error) => match error {
            SignatureVerificationError::DisallowedAlg(_) | SignatureVerificationError::UnsupportedAlg(_) => {
                "it is signed by an algorithm that is not taken (`alg`)"
            }
            SignatureVerificationError::NoSignature => "it is not signed",
            SignatureVerificationError::NoMatchingKey => "it is signed with a key that the provider does not show",
            _ => "its signature is wrong",
        },
        _ => "it lacks a claim, or has a wrong one",
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_provider_asked_since_then_shows_who_somebody_is() {
        let (began, second) = (DateTime::UNIX_EPOCH + TimeDelta::hours(1), TimeDelta::seconds(1));
        let now = began + TimeDelta::minutes(1);
        for (at, is) in [
            (None, false),
            (Some(began - TimeDelta::hours(1)), false),
            (Some(began - LEEWAY - second), false),
            (Some(began), true),
            (Some(now), true),
            (Some(now + LEEWAY + second), false),
        ] {
            assert_eq!(was_asked(at, began, now), is, "{at:?}");
        }
    }

    #[test]
    fn an_address_that_nobody_has_verified_is_none() {
        for (verified, is) in [(Some(true), Some("ada@example.com")), (Some(false), None), (None, None)] {
            assert_eq!(email(Some("Ada@Example.com"), verified).as_deref(), is, "{verified:?}");
        }
    }
}
