//! Receipts of 54-FZ: what goes to the gateway with a charge so that its cash register makes one (`CustomerReceipt`). Off
//! unless a tax system is configured.

mod config;
mod contacts;
mod content;

use billing::PaymentId;
use billing::store::{StoreError, receipts};
use secrecy::SecretString;

pub use self::config::ReceiptsConfig;
use self::contacts::{Contact, Contacts};
use self::content::Seller;
use crate::desk::Desk;

/// What receipts are made of. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Receipts {
    seller: Seller,
    /// Where receipts go of which nobody says where to.
    fallback: SecretString,
    /// `None`: there is no auth service to be asked.
    contacts: Option<Contacts>,
}

impl Receipts {
    /// Writes down what the receipt of an attempt is to be, before the attempt is sent. No connection to the database is held
    /// while the auth service is asked.
    pub(crate) async fn write_ahead(&self, payment_id: PaymentId, desk: &Desk) -> Result<(), StoreError> {
        let services = &desk.services;
        let sale = receipts::sale(&mut *services.db.conn().await?, payment_id, desk.now()).await?;
        let Some(sale) = sale else { return Ok(()) };
        let contact = match &self.contacts {
            Some(contacts) => contacts.of(sale.account_id).await,
            None => None,
        };
        let contact = contact.unwrap_or_else(|| Contact::Email(self.fallback.clone()));
        let text = self.seller.receipt(&sale, &contact);
        receipts::keep(&mut *services.db.conn().await?, payment_id, &text, &services.cipher, desk.now()).await?;
        Ok(())
    }
}
