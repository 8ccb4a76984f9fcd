//! `billing receipts`: fiscal receipts that were not made, and having the cash register asked for others.

use std::io::{self, Write};

use billing::PaymentId;
use billing::store::receipts as store;
use billing::tasks::SendReceipt;
use celeriac::SendOptions;
use clap::{Args, Subcommand};

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct ReceiptsConfig {
    #[command(subcommand)]
    pub verb: ReceiptsVerb,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Subcommand, Debug)]
pub enum ReceiptsVerb {
    /// Shows receipts that were not made an hour after their money moved, the longest first; the status is 1 while there are any
    Missing(Shown),
    /// Has the cash register asked once more for everything that is missing of a payment
    Send(Order),
}

#[derive(Args, Clone, Copy, Debug)]
pub struct Shown {
    /// At most so many
    #[arg(long, env = "RECEIPTS_SHOWN", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000), value_name = "N")]
    pub limit: i64,
}

#[derive(Args, Debug)]
pub struct Order {
    /// The payment, by its id
    pub payment: PaymentId,
    /// Who asks for them
    #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
    pub by: String,
}

pub(crate) async fn run(config: ReceiptsConfig) -> Result<u8, Exit> {
    match config.verb {
        ReceiptsVerb::Missing(shown) => {
            let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
            let missing = store::list_missing(&mut *db.conn().await?, db.now(), shown.limit).await?;
            let mut out = io::stdout();
            for found in &missing {
                let due = found.due_at.format("%Y-%m-%d %H:%M:%SZ");
                let order = found.state.map_or("", |state| state.as_str());
                let (payment, kind, amount) = (found.payment_id, found.kind, found.amount.get());
                writeln!(out, "{payment}  since {due}  {kind:<13}  {amount:>11}  {} {order}", found.way)?;
            }
            Ok(if missing.is_empty() { exit::OK } else { exit::FAILED })
        }
        ReceiptsVerb::Send(order) => send(config.services, order).await,
    }
}

async fn send(services: billing::ServicesConfig, order: Order) -> Result<u8, Exit> {
    let by: String = order.by.chars().take(MAX_NAME).collect();
    if by.trim().is_empty() {
        return Err(Exit::configuration(anyhow::anyhow!("--by (environment variable USER): say who asks")));
    }
    let services = services.connect().await.map_err(crate::roles::services_error)?;
    let ordered = {
        let mut conn = services.db.conn().await?;
        store::order_missing(&mut conn, order.payment, &by, services.db.now()).await?
    };
    let mut out = io::stdout();
    for id in &ordered {
        let options = SendOptions::new().task_id(SendReceipt::task_id(*id));
        if let Err(error) = services.app.send_with(SendReceipt { receipt_id: *id }, options).await {
            tracing::warn!(%error, "the order is left to the timetable");
        }
        writeln!(out, "ordered: {id}")?;
    }
    services.app.close().await;
    if ordered.is_empty() {
        writeln!(out, "nothing is missing of payment {}", order.payment)?;
    }
    Ok(exit::OK)
}

/// As the table takes it.
const MAX_NAME: usize = 128;
