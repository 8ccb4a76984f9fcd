//! Where receipts are sent: the auth service knows.

use std::time::Duration;

use billing::AccountId;
use secrecy::SecretString;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::auth::Connection;
use crate::auth::proto::GetReceiptContactRequest;
use crate::auth::proto::contacts_client::ContactsClient;

/// How long the auth service has. A customer waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Where one receipt goes.
#[derive(Debug, Clone)]
pub(super) enum Contact {
    Email(SecretString),
    Phone(SecretString),
}

/// The auth service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Contacts {
    client: ContactsClient<Channel>,
    connection: Connection,
}

impl Contacts {
    pub(super) fn new(connection: Connection) -> Self {
        Self { client: ContactsClient::new(connection.channel.clone()), connection }
    }

    /// `None`: it does not say, in time or in a form that can be used. Then the receipt goes where it is configured to.
    pub(super) async fn of(&self, account_id: AccountId) -> Option<Contact> {
        match self.ask(account_id).await {
            Ok(contact) => contact,
            Err(status) => {
                tracing::warn!(%account_id, code = ?status.code(), "the auth service does not say where a receipt goes");
                None
            }
        }
    }

    async fn ask(&self, account_id: AccountId) -> Result<Option<Contact>, Status> {
        let message = GetReceiptContactRequest { account_id: account_id.to_string() };
        let request = self.connection.request(message, ANSWER_WITHIN);
        let mut client = self.client.clone();
        let asked = tokio::time::timeout(ANSWER_WITHIN, client.get_receipt_contact(request));
        let said = asked.await.map_err(|_| Status::new(Code::DeadlineExceeded, "no answer in time"))??.into_inner();
        let email = Some(said.email).filter(|email| is_email(email)).map(|email| Contact::Email(email.into()));
        Ok(email.or_else(|| Some(said.phone).filter(|phone| is_phone(phone)).map(|phone| Contact::Phone(phone.into()))))
    }
}

pub(super) fn is_email(text: &str) -> bool {
    let is_plain = text.len() <= 254 && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    is_plain && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| (10..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_receipt_can_be_sent_to_is_taken() {
        for good in ["anna@example.com", "анна@кино.рф"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "anna", "@example.com", "anna@example", "a b@example.com", "anna@example.com\r\nX: 1"] {
            assert!(!is_email(bad), "{bad}");
        }
        assert!(!is_email(&format!("{}@example.com", "a".repeat(254))));
        assert!(is_phone("+79161234567"));
        for bad in ["", "+", "79161234567", "+7916", "+7 916 123 45 67", "+1234567890123456"] {
            assert!(!is_phone(bad), "{bad}");
        }
    }
}
