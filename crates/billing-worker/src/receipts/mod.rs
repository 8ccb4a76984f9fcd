//! Receipts of 54-FZ: what goes to the gateway with a charge, its confirmation and a refund so that its cash register makes
//! one (`CustomerReceipt`), or alone. Off unless a tax system is configured.

mod config;
mod contacts;
mod content;

use billing::store::StoreError;
use billing::store::receipts::{self, Sale};
use billing::{PaymentId, ReceiptId, RefundId, Services};
use secrecy::SecretString;

pub use self::config::ReceiptsConfig;
use self::contacts::{Contact, Contacts};
use self::content::Seller;

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
    /// Writes down what the receipt of an attempt is to be, before the attempt is sent.
    pub(crate) async fn of_charge(&self, payment_id: PaymentId, services: &Services) -> Result<(), StoreError> {
        let sale = receipts::sale(&mut *services.db.conn().await?, payment_id, services.db.now()).await?;
        self.write_ahead(sale, services).await
    }

    /// Likewise of a refund.
    pub(crate) async fn of_refund(&self, refund_id: RefundId, services: &Services) -> Result<(), StoreError> {
        let sale = receipts::sale_returned(&mut *services.db.conn().await?, refund_id).await?;
        self.write_ahead(sale, services).await
    }

    /// Likewise of one that the register is asked for alone.
    pub(crate) async fn of_order(&self, id: ReceiptId, services: &Services) -> Result<(), StoreError> {
        let sale = receipts::sale_ordered(&mut *services.db.conn().await?, id).await?;
        self.write_ahead(sale, services).await
    }

    /// Our taxpayer number.
    pub(crate) fn inn(&self) -> &str {
        &self.seller.inn
    }

    /// No connection to the database is held while the auth service is asked.
    async fn write_ahead(&self, sale: Option<Sale>, services: &Services) -> Result<(), StoreError> {
        let Some(sale) = sale else { return Ok(()) };
        let contact = match &self.contacts {
            Some(contacts) => contacts.of(sale.account_id).await,
            None => None,
        };
        let contact = contact.unwrap_or_else(|| Contact::Email(self.fallback.clone()));
        let text = self.seller.receipt(&sale, &contact);
        receipts::keep(&mut *services.db.conn().await?, &sale, &text, &services.cipher, services.db.now()).await
    }
}
