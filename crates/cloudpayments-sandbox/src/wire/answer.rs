//! Answers as the gateway prints them: `Success`, `Message` and, when there is one, `Model`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::{model::Model, orders, recurring};
use crate::ledger::{
    Answer, IssuedToken, Reply,
    payout::Fee,
    secret::Secret,
    transaction::{Status, Transaction, TransactionId},
};

/// What answers say about the terminal itself.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    pub(crate) public_id: String,
    /// What is kept of each payment; without one nothing is transferred to the shop.
    pub(crate) fee: Option<Fee>,
    /// Where browsers reach the sandbox, without a slash at the end.
    pub(crate) base_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a, M> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<M>,
    success: bool,
    message: Option<&'a str>,
}

/// "3-D Secure required". Told from a decline by `AcsUrl` and `PaReq`, and by the lack of a `ReasonCode`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ThreeDs {
    transaction_id: TransactionId,
    pa_req: String,
    go_req: (),
    acs_url: String,
    three_ds_session_data: (),
    #[serde(rename = "IFrameIsAllowed")]
    iframe_is_allowed: bool,
    frame_width: (),
    frame_height: (),
    three_ds_callback_id: String,
    escrow_accumulation_id: (),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Refunded {
    transaction_id: TransactionId,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TokenItem<'a> {
    token: &'a str,
    account_id: &'a str,
    card_mask: String,
    expiration_date_month: u8,
    expiration_date_year: u16,
}

impl<'a> From<&'a IssuedToken> for TokenItem<'a> {
    fn from(issued: &'a IssuedToken) -> Self {
        Self {
            token: &issued.token.0,
            account_id: &issued.account_id,
            card_mask: issued.card.masked(),
            expiration_date_month: issued.card.expiry.month,
            expiration_date_year: issued.card.expiry.year,
        }
    }
}

impl Terminal {
    /// The body of an answer. The same reply is printed the same for ever.
    pub(crate) fn print(&self, reply: &Reply, secret: &Secret) -> String {
        let Reply { answer, at } = reply;
        match answer {
            Answer::Pong(id) => print::<()>(None, true, Some(&id.to_string())),
            Answer::Done => print::<()>(None, true, None),
            Answer::Transaction(transaction) => {
                // A declined transaction is shown with `Success: false`, also when it is only looked up.
                let success = transaction.status(*at) != Status::Declined;
                print(Some(self.model(transaction, *at)), success, None)
            }
            Answer::ThreeDs(transaction) => print(Some(self.three_ds(transaction, secret)), false, None),
            Answer::Refunded(id) => print(Some(Refunded { transaction_id: *id }), true, None),
            Answer::Transactions(transactions) => {
                let items: Vec<_> = transactions.iter().map(|item| self.model(item, *at).in_list()).collect();
                print(Some(items), true, None)
            }
            Answer::Tokens(tokens) => {
                let items: Vec<_> = tokens.iter().map(|issued| TokenItem::from(&**issued)).collect();
                print(Some(items), true, None)
            }
            Answer::Subscription(it) => print(Some(recurring::Model::from(&**it)), true, None),
            Answer::Subscriptions(list) => {
                let items: Vec<_> = list.iter().map(|it| recurring::Model::from(&**it)).collect();
                print(Some(items), true, None)
            }
            Answer::Order(it) => print(Some(orders::order(it, &self.base_url)), true, None),
            Answer::ReceiptQueued(id) => print(Some(json!({ "Id": id, "ErrorCode": 0 })), true, Some("Queued")),
            Answer::Receipt(it) => print(Some(orders::receipt(it, &self.base_url)), true, None),
            Answer::Chargebacks(list) => {
                let items: Vec<_> = list.iter().map(|it| orders::chargeback(it, &self.base_url)).collect();
                print(Some(items), true, None)
            }
            Answer::Notifications(settings) => print(Some(settings), true, None),
            Answer::ApplePay(session) => print(Some(session), true, None),
            Answer::Refused(message) => print::<()>(None, false, Some(message)),
        }
    }

    fn model<'a>(&'a self, transaction: &'a Transaction, at: DateTime<Utc>) -> Model<'a> {
        Model::new(transaction, self, at)
    }

    fn three_ds(&self, transaction: &Transaction, secret: &Secret) -> ThreeDs {
        ThreeDs {
            transaction_id: transaction.id,
            pa_req: secret.pa_req(transaction),
            go_req: (),
            acs_url: format!("{}/acs", self.base_url),
            three_ds_session_data: (),
            iframe_is_allowed: true,
            frame_width: (),
            frame_height: (),
            three_ds_callback_id: secret.three_ds_callback_id(transaction.id),
            escrow_accumulation_id: (),
        }
    }
}

fn print<M: Serialize>(model: Option<M>, success: bool, message: Option<&str>) -> String {
    serde_json::to_string(&Envelope { model, success, message }).expect("answers are structs of plain values")
}
