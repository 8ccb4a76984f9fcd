//! The gateway's words in billing's.

use billing::notification::{Fiscal, Ids, Notice, NoticeKind};
use billing::payment::CardMask;
use billing::store::notifications::{NoticeKey, Received};
use cloudpayments::notification::{Cancel, Notification, Payment, Receipt, Recurrent, Refund};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// What was asked, or told.
pub(super) enum Heard {
    Check(Box<Notice>),
    Told(Box<Received>),
}

/// Reads a notification whose body has this digest.
pub(super) fn heard(notification: Notification, body: &[u8]) -> Heard {
    let body_sha256 = Sha256::digest(body).into();
    let (kind, gateway_id, notice, token) = match notification {
        Notification::Check(check) => return Heard::Check(Box::new(payment(&check.payment))),
        Notification::Pay(pay) => numbered(NoticeKind::Pay, pay.payment),
        Notification::Confirm(confirm) => numbered(NoticeKind::Confirm, confirm.payment),
        Notification::Fail(fail) => {
            let decline = fail.decline;
            let (kind, id, notice, token) = numbered(NoticeKind::Fail, fail.payment);
            let notice = Notice {
                reason_code: Some(decline.code),
                reason: decline.reason,
                cardholder_message: decline.cardholder_message,
                retry_after: decline.retry_after,
                provider_message: fail.provider_message,
                ..notice
            };
            (kind, id, notice, token)
        }
        Notification::Refund(told) => (NoticeKind::Refund, told.transaction_id.to_string(), refund(*told), None),
        Notification::Cancel(told) => (NoticeKind::Cancel, told.transaction_id.to_string(), cancel(*told), None),
        Notification::Recurrent(told) => (NoticeKind::Recurrent, told.id.clone(), recurrent(*told), None),
        Notification::Receipt(told) => (NoticeKind::Receipt, told.id.clone(), receipt(*told), None),
    };
    // Its own are numbers, or shorter by far.
    let gateway_id = gateway_id.replace('\0', "").chars().take(MAX_ID).collect();
    Heard::Told(Box::new(Received { key: NoticeKey { kind, gateway_id, body_sha256 }, notice, token }))
}

const MAX_ID: usize = 100;

type Numbered = (NoticeKind, String, Notice, Option<SecretString>);

/// Fail brings a token too; what was declined pays for nothing, and is charged by nothing.
fn numbered(kind: NoticeKind, told: Payment) -> Numbered {
    let notice = payment(&told);
    let secret = told.token.filter(|_| kind != NoticeKind::Fail);
    (kind, told.transaction_id.to_string(), notice, secret)
}

fn payment(told: &Payment) -> Notice {
    Notice {
        transaction_id: Some(told.transaction_id),
        at: told.date_time,
        invoice_id: told.invoice_id.clone(),
        account_id: told.account_id.clone(),
        ids: told.data.as_deref().map(Ids::of),
        amount: told.currency.as_deref().and_then(decimals).and_then(|decimals| told.amount.minor(decimals)),
        currency: told.currency.clone(),
        test_mode: told.test_mode,
        is_other_operation: !told.is_payment,
        may_be_check: told.may_be_check,
        status: told.status_name.clone(),
        fallback_of: told.fallback_declined_transaction_id,
        card: Some(CardMask {
            first_six: told.card.first_six.clone(),
            last_four: told.card.last_four.clone(),
            expires: told.card.expires.clone(),
            scheme: told.card.brand.clone(),
            // What is stored of a notification must not tell the card.
            fingerprint: None,
        }),
        ..Notice::default()
    }
}

fn decimals(currency: &str) -> Option<u32> {
    Some(currency.parse::<billing::Currency>().ok()?.decimals())
}

/// A refund and a cancellation come without a currency: it is that of the payment.
fn refund(told: Refund) -> Notice {
    Notice {
        transaction_id: Some(told.transaction_id),
        payment_transaction_id: Some(told.payment_transaction_id),
        at: told.date_time,
        invoice_id: told.invoice_id,
        account_id: told.account_id,
        ids: told.data.as_deref().map(Ids::of),
        amount: told.amount.minor(HUNDREDTHS),
        ..Notice::default()
    }
}

fn cancel(told: Cancel) -> Notice {
    Notice {
        transaction_id: Some(told.transaction_id),
        at: told.date_time,
        invoice_id: told.invoice_id,
        account_id: told.account_id,
        ids: told.data.as_deref().map(Ids::of),
        amount: told.amount.minor(HUNDREDTHS),
        ..Notice::default()
    }
}

const HUNDREDTHS: u32 = 2;

fn recurrent(told: Recurrent) -> Notice {
    Notice {
        at: told.last_transaction_date,
        account_id: told.account_id,
        status: Some(told.status),
        ..Notice::default()
    }
}

fn receipt(told: Receipt) -> Notice {
    Notice {
        transaction_id: told.transaction_id,
        at: told.date_time,
        invoice_id: told.invoice_id,
        account_id: told.account_id,
        amount: told.amount.and_then(|amount| amount.minor(HUNDREDTHS)),
        fiscal: Some(Fiscal {
            receipt_type: told.receipt_type,
            document_number: told.document_number,
            fiscal_sign: told.fiscal_sign,
            fiscal_number: told.fiscal_number,
            registration_number: told.registration_number,
            url: told.url,
            qr_code_url: told.qr_code_url,
        }),
        ..Notice::default()
    }
}
