//! From parameters to commands and queries, by the tables of the gateway's documentation. Fields are checked in the
//! order of those tables, so that of several missing ones the same is named first.

use std::net::IpAddr;

use uuid::Uuid;

use super::{
    look,
    orders::{self, PayoutBy},
    params::{BadRequest, Params},
    recurring,
};
use crate::{
    cryptogram::Packet,
    ledger::{
        command::{CardCharge, Command, FindScope, PaRes, Page, Query, TokenCharge},
        transaction::{Purpose, Token, TransactionId},
    },
    money::Currency,
    notification::Kind,
};

/// A method of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Test,
    CardsCharge,
    CardsAuth,
    PostThreeDs,
    TokensCharge,
    TokensAuth,
    Confirm,
    Void,
    Refund,
    Get,
    FindV1,
    FindV2,
    ListV1,
    ListV2,
    TokensList,
    CardsTopup,
    TokenTopup,
    AltTopup,
    SubscriptionsCreate,
    SubscriptionsGet,
    SubscriptionsFind,
    SubscriptionsUpdate,
    SubscriptionsCancel,
    OrdersCreate,
    OrdersCancel,
    ReceiptCreate,
    ReceiptGet,
    ChargebacksList,
    NotificationsGet,
    NotificationsUpdate,
    ApplePayStart,
}

/// A readable request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Command(Box<Command>),
    Query(Query),
}

impl Endpoint {
    pub(crate) const ALL: [(&'static str, Self); 31] = [
        ("/test", Self::Test),
        ("/payments/cards/charge", Self::CardsCharge),
        ("/payments/cards/auth", Self::CardsAuth),
        ("/payments/cards/post3ds", Self::PostThreeDs),
        ("/payments/tokens/charge", Self::TokensCharge),
        ("/payments/tokens/auth", Self::TokensAuth),
        ("/payments/confirm", Self::Confirm),
        ("/payments/void", Self::Void),
        ("/payments/refund", Self::Refund),
        ("/payments/get", Self::Get),
        ("/payments/find", Self::FindV1),
        ("/v2/payments/find", Self::FindV2),
        ("/payments/list", Self::ListV1),
        ("/v2/payments/list", Self::ListV2),
        ("/payments/tokens/list", Self::TokensList),
        ("/payments/cards/topup", Self::CardsTopup),
        ("/payments/token/topup", Self::TokenTopup),
        ("/payments/alt/topup", Self::AltTopup),
        ("/subscriptions/create", Self::SubscriptionsCreate),
        ("/subscriptions/get", Self::SubscriptionsGet),
        ("/subscriptions/find", Self::SubscriptionsFind),
        ("/subscriptions/update", Self::SubscriptionsUpdate),
        ("/subscriptions/cancel", Self::SubscriptionsCancel),
        ("/orders/create", Self::OrdersCreate),
        ("/orders/cancel", Self::OrdersCancel),
        ("/kkt/receipt", Self::ReceiptCreate),
        ("/kkt/receipt/get", Self::ReceiptGet),
        ("/chargebacks/list", Self::ChargebacksList),
        ("/site/notifications/{type}/get", Self::NotificationsGet),
        ("/site/notifications/{type}/update", Self::NotificationsUpdate),
        ("/applepay/startsession", Self::ApplePayStart),
    ];

    /// Does it only look? Such a request needs no `X-Request-ID`, and one it has is not heeded.
    pub(crate) fn only_looks(self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::FindV1
                | Self::FindV2
                | Self::ListV1
                | Self::ListV2
                | Self::TokensList
                | Self::SubscriptionsGet
                | Self::SubscriptionsFind
                | Self::ReceiptGet
                | Self::ChargebacksList
                | Self::NotificationsGet
                | Self::ApplePayStart
        )
    }

    /// Reads a request. `strict` asks for what the documentation requires since 2023 but old clients do not send.
    pub(crate) fn read(self, params: &Params, strict: bool) -> Result<Request, BadRequest> {
        let id = || transaction_id(params);
        Ok(match self {
            Self::Test => command(Command::Ping(Uuid::new_v4())),
            Self::CardsCharge | Self::CardsAuth => {
                command(Command::ChargeCard(card_charge(params, self == Self::CardsAuth)?))
            }
            Self::TokensCharge | Self::TokensAuth => {
                command(Command::ChargeToken(token_charge(params, self == Self::TokensAuth, strict)?))
            }
            Self::PostThreeDs => {
                let id = id()?;
                let pa_res = PaRes(params.required("PaRes")?.to_owned());
                command(Command::PostThreeDs { id, pa_res })
            }
            Self::Confirm => command(Command::Confirm {
                id: id()?,
                amount: params.amount("Amount")?,
                json_data: params.json("JsonData"),
            }),
            Self::Void => command(Command::Void { id: id()? }),
            Self::Refund => command(Command::Refund {
                id: id()?,
                amount: params.amount("Amount")?,
                json_data: params.json("JsonData"),
            }),
            Self::Get => Request::Query(Query::Get { id: id()? }),
            Self::FindV1 => Request::Query(look::find(params, FindScope::Payments)?),
            Self::FindV2 => Request::Query(look::find(params, FindScope::AllOperations)?),
            Self::ListV1 => Request::Query(Query::List(look::list_of_day(params)?)),
            Self::ListV2 => Request::Query(Query::List(look::list_of_period(params)?)),
            // Documented as required; known clients send nothing.
            Self::TokensList => Request::Query(Query::Tokens { page: look::page(params)?.unwrap_or(Page(1)) }),
            Self::CardsTopup => command(Command::PayOut(orders::payout(params, PayoutBy::Card)?)),
            Self::TokenTopup => command(Command::PayOut(orders::payout(params, PayoutBy::Token)?)),
            Self::AltTopup => command(Command::PayOut(orders::payout(params, PayoutBy::Phone)?)),
            Self::SubscriptionsCreate => command(Command::CreateSubscription(recurring::terms(params, strict)?)),
            Self::SubscriptionsGet => Request::Query(Query::Subscription { id: recurring::id(params)? }),
            Self::SubscriptionsFind => {
                Request::Query(Query::Subscriptions { account_id: params.required("AccountId")?.to_owned() })
            }
            Self::SubscriptionsUpdate => {
                command(Command::UpdateSubscription { id: recurring::id(params)?, patch: recurring::patch(params)? })
            }
            Self::SubscriptionsCancel => command(Command::CancelSubscription { id: recurring::id(params)? }),
            Self::OrdersCreate => command(Command::CreateOrder(orders::offer(params)?)),
            Self::OrdersCancel => command(Command::CancelOrder { id: orders::order_id(params)? }),
            Self::ReceiptCreate => command(Command::QueueReceipt(orders::receipt_order(params)?)),
            Self::ReceiptGet => Request::Query(Query::Receipt { id: orders::receipt_id(params)? }),
            Self::ChargebacksList => Request::Query(look::chargebacks(params)?),
            Self::NotificationsGet => Request::Query(Query::Notifications { kind: orders::notification_kind(params)? }),
            Self::NotificationsUpdate => match orders::notification_kind(params)? {
                Kind::Check => return Err(BadRequest("Check notifications cannot be updated by the API".to_owned())),
                kind => command(Command::SetNotifications { kind, settings: orders::notification_settings(params)? }),
            },
            Self::ApplePayStart => Request::Query(look::apple_pay(params)?),
        })
    }
}

fn command(command: Command) -> Request {
    Request::Command(Box::new(command))
}

/// The transaction a request is about, if it names one.
pub(crate) fn transaction_id(params: &Params) -> Result<TransactionId, BadRequest> {
    let id = params.integer("TransactionId")?;
    id.map(TransactionId).ok_or_else(|| BadRequest::about("TransactionId", "is required"))
}

fn card_charge(params: &Params, two_stage: bool) -> Result<CardCharge, BadRequest> {
    let mut purpose = purpose(params, two_stage)?;
    params.required("IpAddress")?;
    let packet =
        Packet::parse(params.required("CardCryptogramPacket")?).map_err(|error| BadRequest(error.to_string()))?;
    purpose.account_id = params.owned("AccountId")?;
    Ok(CardCharge {
        purpose,
        packet,
        holder_name: params.owned("Name")?,
        save_card: params.boolean("SaveCard")?.unwrap_or(true),
        checked: None,
        order_id: None,
    })
}

fn token_charge(params: &Params, two_stage: bool, strict: bool) -> Result<TokenCharge, BadRequest> {
    let mut purpose = purpose(params, two_stage)?;
    purpose.account_id = Some(params.required("AccountId")?.to_owned());
    let initiator = params.integer("TrInitiatorCode")?;
    let scheduled = params.integer("PaymentScheduled")?;
    match (initiator, scheduled) {
        (None, _) if strict => return Err(BadRequest::about("TrInitiatorCode", "is required")),
        (Some(0), None) if strict => return Err(BadRequest::about("PaymentScheduled", "is required")),
        (Some(code), _) if !(0..=1).contains(&code) => return Err(BadRequest::about("TrInitiatorCode", "is invalid")),
        (_, Some(code)) if !(0..=1).contains(&code) => return Err(BadRequest::about("PaymentScheduled", "is invalid")),
        _ => {}
    }
    let token = Token(params.required("Token")?.to_owned());
    Ok(TokenCharge { purpose, token, initiator, checked: None })
}

/// What card and token charges share. `AccountId` is left to them: one of them requires it, later in its table.
pub(super) fn purpose(params: &Params, two_stage: bool) -> Result<Purpose, BadRequest> {
    let amount = params.amount("Amount")?;
    let currency = currency(params)?.unwrap_or(Currency::RUB);
    let ip_address = params.owned("IpAddress")?;
    if ip_address.as_ref().is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(BadRequest::about("IpAddress", "is invalid"));
    }
    Ok(Purpose {
        amount,
        currency,
        invoice_id: params.owned("InvoiceId")?,
        account_id: None,
        email: params.owned("Email")?,
        description: params.owned("Description")?,
        json_data: params.json("JsonData"),
        ip_address,
        culture: params.owned("CultureName")?.unwrap_or_else(|| "ru-RU".to_owned()),
        two_stage,
    })
}

pub(super) fn currency(params: &Params) -> Result<Option<Currency>, BadRequest> {
    let parse = |code| Currency::parse(code).ok_or_else(|| BadRequest::about("Currency", "is invalid"));
    params.text("Currency")?.map(parse).transpose()
}
