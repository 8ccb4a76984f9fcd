//! `billing ledger`: what accountants ask of the ledger, and what they set.

use std::io::Write;

use billing::db::Conn;
use billing::ledger::{LedgerAccount, SaleTerms, VatRate};
use billing::store::journal::{self, CloseError, Posted, SetVatError};
use billing::{Kopecks, TariffId};
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct LedgerConfig {
    #[command(subcommand)]
    pub verb: LedgerVerb,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Subcommand, Debug)]
pub enum LedgerVerb {
    /// Shows what the accounts came to at the end of a day
    Balance {
        /// The day, as in 2026-11-30; today, if it is left out
        #[arg(long, value_name = "DATE")]
        at: Option<NaiveDate>,
    },
    /// Shows what was paid for time to come and not earned by the end of a day, without VAT
    Deferred {
        /// The day, as in 2026-11-30; today, if it is left out
        #[arg(long, value_name = "DATE")]
        at: Option<NaiveDate>,
    },
    /// Writes the postings of these days, both included, as CSV for the accountants' software
    Export {
        /// The first day, as in 2026-11-01
        from: NaiveDate,
        /// The last day, as in 2026-11-30
        to: NaiveDate,
    },
    /// Closes a month, with all before it: nothing is entered in it any more
    Close {
        /// The month, as in 2026-11
        #[arg(value_parser = month)]
        month: NaiveDate,
        /// Who closes it
        #[arg(long, env = "USER", value_name = "NAME")]
        by: String,
    },
    /// Sets the VAT that is within the price of a tariff, from a time on
    Vat {
        /// The tariff's id
        tariff: TariffId,
        /// Whole percent, as in 22; none: sold without VAT
        #[arg(value_parser = rate)]
        rate: Rate,
        /// How receipts name the payment: 4 paid in full, by the gateway's list
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(0..=7), value_name = "N")]
        method: i32,
        /// How receipts name what is sold: 4 a service, by the gateway's list
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(0..=33), value_name = "N")]
        object: i32,
        /// From when on, as in 2027-01-01T00:00:00+03:00; now, if it is left out
        #[arg(long, value_name = "TIME")]
        from: Option<DateTime<Utc>>,
        /// Who sets it
        #[arg(long, env = "USER", value_name = "NAME")]
        by: String,
    },
    /// Looks whether the ledger balances and agrees with the payments; ends with 1 if not
    Check,
}

/// A VAT rate as it is written on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Rate(Option<VatRate>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "none" {
        return Ok(Rate(None));
    }
    let percent = text.parse().map_err(|_| "expected whole percent, as in 22, or none".to_owned())?;
    VatRate::percent(percent).map(|rate| Rate(Some(rate))).map_err(|error| error.to_string())
}

fn month(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d")
        .map_err(|_| "expected a month, as in 2026-11".to_owned())
}

/// Postings of a page of the export.
const PAGE: i64 = 5_000;

pub(crate) async fn run(config: LedgerConfig) -> Result<u8, Exit> {
    let zone = config.services.billing_time_zone;
    let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
    let (mut conn, now) = (db.conn().await?, db.now());
    let today = now.with_timezone(&zone).date_naive();
    let mut out = std::io::stdout().lock();
    match config.verb {
        LedgerVerb::Balance { at } => {
            for ((account, currency), amount) in journal::balances(&mut conn, at.unwrap_or(today)).await? {
                writeln!(out, "{account:<17} {:>20}", amount.in_currency(currency).to_string())?;
            }
        }
        LedgerVerb::Deferred { at } => {
            for (currency, amount) in journal::deferred(&mut conn, at.unwrap_or(today)).await? {
                writeln!(out, "{}", amount.in_currency(currency))?;
            }
        }
        LedgerVerb::Export { from, to } => export(&mut conn, from, to, &mut out).await?,
        LedgerVerb::Close { month, by } => {
            journal::close_month(&mut conn, month, &by, zone, now).await.map_err(not_closed)?;
            writeln!(out, "closed up to the end of {}", month.format("%Y-%m"))?;
        }
        LedgerVerb::Vat { tariff, rate: Rate(rate), method, object, from, by } => {
            let from = from.unwrap_or(now);
            let terms = SaleTerms { vat: rate, method, object };
            journal::set_vat(&mut conn, tariff, terms, from, &by, now).await.map_err(not_set)?;
            let said = rate.map_or_else(|| "without VAT".to_owned(), |rate| format!("{} % VAT", rate.get()));
            writeln!(out, "{said} from {} on", from.to_rfc3339())?;
        }
        LedgerVerb::Check => {
            let faults = journal::faults(&mut conn, 100).await?;
            for fault in &faults {
                writeln!(out, "{fault}")?;
            }
            return Ok(if faults.is_empty() { exit::OK } else { exit::FAILED });
        }
    }
    Ok(exit::OK)
}

/// Page by page, so that years need no more memory than a day.
async fn export(conn: &mut Conn, from: NaiveDate, to: NaiveDate, out: &mut impl Write) -> Result<(), Exit> {
    writeln!(out, "{HEADER}")?;
    let mut last: Option<Posted> = None;
    loop {
        let page = journal::postings(conn, from, to, last.as_ref(), PAGE).await?;
        for posted in &page {
            writeln!(out, "{}", row(posted))?;
        }
        match page.into_iter().next_back() {
            Some(posted) => last = Some(posted),
            None => return Ok(()),
        }
    }
}

const HEADER: &str = "date;entry;line;kind;debit;credit;amount;currency;debit_code;credit_code;account_id;bill_id;payment_id;\
    tariff_id;transaction_id";

/// Nothing in it can hold a separator: dates, numbers, ids and names of ours.
fn row(posted: &Posted) -> String {
    fn id<T: ToString>(id: Option<T>) -> String {
        id.map(|id| id.to_string()).unwrap_or_default()
    }
    [
        posted.day.to_string(),
        posted.entry_id.to_string(),
        posted.no.to_string(),
        posted.kind.to_string(),
        posted.debit.to_string(),
        posted.credit.to_string(),
        number(posted),
        posted.currency.to_string(),
        code(posted.debit).to_owned(),
        code(posted.credit).to_owned(),
        id(posted.account_id),
        id(posted.bill_id),
        id(posted.payment_id),
        id(posted.tariff_id),
        id(posted.transaction_id),
    ]
    .join(";")
}

/// In units of the currency, as `399.00`.
fn number(posted: &Posted) -> String {
    let Posted { amount, currency, .. } = posted;
    let shown = Kopecks::new(amount.get()).in_currency(*currency).to_string();
    shown.split(' ').next().unwrap_or_default().to_owned()
}

/// The account of the Russian chart of accounts (order of the Ministry of Finance no. 94n) that 1C keeps it under.
const fn code(account: LedgerAccount) -> &'static str {
    match account {
        LedgerAccount::Receivable => "62.01",
        LedgerAccount::GatewayClearing => "57.03",
        LedgerAccount::Bank => "51",
        LedgerAccount::DeferredRevenue => "62.02",
        LedgerAccount::Revenue => "90.01",
        LedgerAccount::Vat => "68.02",
        LedgerAccount::RefundsPayable => "76.09",
        LedgerAccount::Fees => "91.02",
        LedgerAccount::Chargebacks => "91.02",
        LedgerAccount::Suspense => "76.02",
    }
}

fn not_closed(error: CloseError) -> Exit {
    match error {
        CloseError::Store(error) => error.into(),
        refused => Exit { status: exit::FAILED, error: refused.into() },
    }
}

fn not_set(error: SetVatError) -> Exit {
    match error {
        SetVatError::Store(error) => error.into(),
        refused => Exit { status: exit::FAILED, error: refused.into() },
    }
}
