use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::provider::Provider;
use crate::config::StartError;

/// The longest issuer that is kept beside an account, in bytes.
const MAX_ISSUER: usize = 500;

/// How the staff sign in with a company's account.
#[derive(Args, Clone, Debug)]
#[group(id = "admin_oidc")]
pub struct OidcConfig {
    /// The company's provider of sign-in (OpenID Connect), as its ID tokens name it (`iss`): the staff may sign in there. Needs
    /// ADMIN_ADDRESS and ADMIN_OIDC_CLIENT_ID. Without it everybody signs in with a password here
    #[arg(long, env = "ADMIN_OIDC_ISSUER", value_name = "URL")]
    pub admin_oidc_issuer: Option<String>,

    /// The name under which the provider knows the panel. There the address ADMIN_ADDRESS/login/oidc/callback must be
    /// registered, and ADMIN_ADDRESS/login for signing out
    #[arg(long, env = "ADMIN_OIDC_CLIENT_ID", value_name = "ID")]
    pub admin_oidc_client_id: Option<String>,

    /// What the panel proves to the provider that it is the panel by; none where the provider wants none
    #[arg(long, env = "ADMIN_OIDC_CLIENT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub admin_oidc_client_secret: Option<SecretString>,

    /// Certificate authorities (PEM) that the provider's certificate must be signed by, instead of those of the system
    #[arg(long, env = "ADMIN_OIDC_CA", value_name = "FILE")]
    pub admin_oidc_ca: Option<PathBuf>,

    /// Values of `amr` or `acr`, separated by commas, with which the provider says that a second factor was shown there: whoever
    /// comes with one is asked for none here. By default the second factor is asked for here as of everybody
    #[arg(long, env = "ADMIN_OIDC_MFA", value_delimiter = ',', value_name = "VALUE[,VALUE]")]
    pub admin_oidc_mfa: Vec<String>,

    /// Nobody signs in with a password any more, but for those whom `billing staff add|reset --with-password` lets
    #[arg(long, env = "ADMIN_OIDC_ONLY")]
    pub admin_oidc_only: bool,

    /// Where browsers reach the panel, as in `https://billing.example`: the provider sends them back there
    #[arg(long, env = "ADMIN_ADDRESS", value_parser = origin, value_name = "URL")]
    pub admin_address: Option<Url>,
}

fn origin(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let has_nobody = url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && is_plain && has_nobody {
        Ok(url)
    } else {
        Err("expected an address without a path, as in https://billing.example".to_owned())
    }
}

impl OidcConfig {
    /// `None`: there is no provider.
    pub(crate) fn provider(&self) -> Result<Option<Provider>, StartError> {
        let wrong = |name, problem: &str| StartError::Setting { name, problem: problem.to_owned() };
        let Some(issuer) = &self.admin_oidc_issuer else {
            return match self {
                Self { admin_oidc_only: true, .. } => {
                    Err(wrong("ADMIN_OIDC_ONLY", "is of use with ADMIN_OIDC_ISSUER only: nobody could sign in"))
                }
                Self { admin_oidc_client_id: Some(_), .. } => {
                    Err(wrong("ADMIN_OIDC_CLIENT_ID", "is of use with ADMIN_OIDC_ISSUER only"))
                }
                _ => Ok(None),
            };
        };
        let issuer_url: Url = issuer.parse().map_err(|error| wrong("ADMIN_OIDC_ISSUER", &format!("{error}")))?;
        if issuer_url.query().is_some() || issuer_url.fragment().is_some() || issuer.len() > MAX_ISSUER {
            return Err(wrong("ADMIN_OIDC_ISSUER", "has neither `?` nor `#`, and at most 500 bytes"));
        }
        if !is_safe(&issuer_url) {
            return Err(wrong("ADMIN_OIDC_ISSUER", "is reached over https:// only, but on this machine"));
        }
        let id = self.admin_oidc_client_id.as_deref().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| wrong("ADMIN_OIDC_CLIENT_ID", "is needed with ADMIN_OIDC_ISSUER"))?;
        let address = self.admin_address.as_ref();
        let address = address.ok_or_else(|| wrong("ADMIN_ADDRESS", "is needed with ADMIN_OIDC_ISSUER"))?;
        if !is_safe(address) {
            return Err(wrong("ADMIN_ADDRESS", "is https:// with ADMIN_OIDC_ISSUER, but on this machine"));
        }
        let secret = self.admin_oidc_client_secret.clone().filter(|secret| !secret.expose_secret().is_empty());
        let mfa = self.admin_oidc_mfa.iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Provider::new(issuer, id, secret, address, mfa.collect(), self.admin_oidc_only, self.admin_oidc_ca.as_deref())
            .map(Some)
    }
}

/// Nobody on the way can read it or change it.
pub(super) fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_this_machine(url))
}

pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        oidc: OidcConfig,
    }

    fn problem(options: &[&str]) -> Option<String> {
        let options = Options::try_parse_from(["admin"].iter().chain(options)).map_err(|error| error.to_string());
        match options.map(|options| options.oidc.provider()) {
            Err(error) => Some(error),
            Ok(Err(error)) => Some(error.to_string()),
            Ok(Ok(_)) => None,
        }
    }

    #[test]
    fn what_is_missing_or_sent_in_the_clear_is_named() {
        let issuer = ["--admin-oidc-issuer", "https://sso.example/realms/staff"];
        let whole = ["--admin-oidc-client-id", "billing", "--admin-address", "https://billing.example"];
        assert_eq!(problem(&[]), None);
        assert_eq!(problem(&[issuer, [whole[0], whole[1]], [whole[2], whole[3]]].concat()), None);
        for (options, variable) in [
            (["--admin-oidc-only"].to_vec(), "ADMIN_OIDC_ONLY"),
            (whole.to_vec(), "ADMIN_OIDC_CLIENT_ID"),
            (issuer.to_vec(), "ADMIN_OIDC_CLIENT_ID"),
            ([issuer.as_slice(), &whole[..2]].concat(), "ADMIN_ADDRESS"),
            ([issuer.as_slice(), &whole[..3], &["http://billing.example"]].concat(), "ADMIN_ADDRESS"),
            ([issuer.as_slice(), &whole[..3], &["https://billing.example/admin"]].concat(), "--admin-address"),
            ([&["--admin-oidc-issuer", "http://sso.example"], whole.as_slice()].concat(), "ADMIN_OIDC_ISSUER"),
            ([&["--admin-oidc-issuer", "sso"], whole.as_slice()].concat(), "ADMIN_OIDC_ISSUER"),
            ([issuer.as_slice(), &whole, &["--admin-oidc-ca", "/nowhere.pem"]].concat(), "ADMIN_OIDC_CA"),
        ] {
            let problem = problem(&options).unwrap_or_default();
            assert!(problem.contains(variable), "{options:?}: {problem:?}");
        }
    }
}
