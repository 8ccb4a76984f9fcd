//! Whether and how receipts are made.

use std::sync::Arc;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::Receipts;
use super::contacts::{self, Contacts};
use super::content::Seller;
use crate::roles::RolesConfig;
use crate::setting::ConfigError;

/// Options of receipts.
#[derive(Debug, Clone, Args)]
#[group(id = "receipts")]
pub struct ReceiptsConfig {
    /// Our tax system, 0 to 5 by the gateway's list (0 general, 1 simplified on income, 2 simplified on income less expenses,
    /// 3 unified, 4 agricultural, 5 patent): every charge then asks the gateway's cash register for a receipt (54-FZ). None
    /// are made while it is not set
    #[arg(long, env = "RECEIPTS_TAXATION_SYSTEM", value_parser = clap::value_parser!(u8).range(0..=5), value_name = "N")]
    pub receipts_taxation_system: Option<u8>,

    /// Our taxpayer number (INN), 10 or 12 digits: in whose name the cash register makes receipts that it is asked for alone
    #[arg(long, env = "RECEIPTS_INN", value_parser = inn, value_name = "DIGITS")]
    pub receipts_inn: Option<String>,

    /// The address of our site, as receipts name the place of the sale
    #[arg(long, env = "RECEIPTS_PLACE", value_name = "URL")]
    pub receipts_place: Option<String>,

    /// Where the receipt goes of a customer of whom the auth service (AUTH_URL) does not say within two seconds where to
    #[arg(long, env = "RECEIPTS_FALLBACK_EMAIL", value_name = "ADDRESS")]
    pub receipts_fallback_email: Option<SecretString>,
}

impl ReceiptsConfig {
    /// `None`: no receipts are made. Reaches out to nobody.
    pub(crate) fn receipts(&self, auth: &RolesConfig) -> Result<Option<Receipts>, ConfigError> {
        let Some(taxation_system) = self.receipts_taxation_system else { return Ok(None) };
        let missing = |variable| ConfigError::Receipts { variable, problem: "receipts are on, and need it" };
        let place = self.receipts_place.as_deref().filter(|place| !place.is_empty());
        let place: Arc<str> = place.ok_or_else(|| missing("RECEIPTS_PLACE"))?.into();
        let inn = self.receipts_inn.as_deref().filter(|inn| !inn.is_empty()).ok_or_else(|| missing("RECEIPTS_INN"))?;
        let inn: Arc<str> = inn.into();
        let fallback = self.receipts_fallback_email.clone().filter(|address| !address.expose_secret().is_empty());
        let fallback = fallback.ok_or_else(|| missing("RECEIPTS_FALLBACK_EMAIL"))?;
        if !contacts::is_email(fallback.expose_secret()) {
            let variable = "RECEIPTS_FALLBACK_EMAIL";
            return Err(ConfigError::Receipts { variable, problem: "is no address, as in receipts@example.com" });
        }
        let contacts = auth.connection()?.map(Contacts::new);
        Ok(Some(Receipts { seller: Seller { taxation_system, inn, place }, fallback, contacts }))
    }
}

fn inn(text: &str) -> Result<String, &'static str> {
    let is_inn = matches!(text.len(), 10 | 12) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_inn.then(|| text.to_owned()).ok_or("expected 10 or 12 digits")
}
