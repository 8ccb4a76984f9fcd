//! `billing tariffs`: what tariffs cost, and from when on; and what they may be tried for.

use std::io::Write as _;
use std::time::Duration;

use billing::event::Source;
use billing::models::{TariffPrice, Trial};
use billing::store::tariffs::{self, SetPriceError, SetTrialError};
use billing::trail::{self, Trail};
use billing::{Currency, Kopecks, TariffId};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct TariffsConfig {
    #[command(subcommand)]
    pub verb: TariffsVerb,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Subcommand, Debug)]
pub enum TariffsVerb {
    /// Shows the tariffs on sale with their present prices
    List,
    /// Sets what a tariff costs from a time on. It reaches each subscriber with the first bill that opens from then on;
    /// they are told --notice before
    Price(SetPrice),
    /// Sets for how many days, and for what, a tariff may be tried before its first full charge: once by an account, and once
    /// with a card. Trials that were begun stay as they are
    Trial(SetTrial),
    /// Sets whether the money is held first, and taken once the bill still wants it. It reaches bills that open from then on
    Stages(SetStages),
}

#[derive(Args, Debug)]
pub struct SetStages {
    /// The tariff's id
    pub tariff: TariffId,
    /// 1: taken at once; 2: held, then taken or let go
    #[arg(value_parser = clap::value_parser!(u8).range(1..=2))]
    pub stages: u8,
    /// In two stages: so many days after it was held the money is taken, and access begins then
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=i64::from(tariffs::MAX_CONFIRM_AFTER)), value_name = "DAYS")]
    pub confirm_after: i32,
}

#[derive(Args, Debug)]
pub struct SetPrice {
    /// The tariff's id
    pub tariff: TariffId,
    /// The price in minor units of the currency: 39900 is 399.00
    pub amount: i64,
    /// From when on, as in 2027-01-31T00:00:00+03:00
    #[arg(long, value_name = "TIME")]
    pub from: DateTime<Utc>,
    #[arg(long, default_value = "RUB", value_name = "CODE")]
    pub currency: Currency,
    /// At least so long before; as the workers' setting
    #[arg(long, env = "PRICE_CHANGE_NOTICE", default_value = "30d", value_parser = billing::duration::notice, value_name = "DURATION")]
    pub notice: Duration,
}

#[derive(Args, Debug)]
pub struct SetTrial {
    /// The tariff's id
    pub tariff: TariffId,
    /// How long it may be tried: 1 to 366 days
    #[arg(long, required_unless_present = "none", conflicts_with = "none")]
    pub days: Option<i32>,
    /// What the trial costs in minor units of the currency; for nothing the card is only verified
    #[arg(long, default_value_t = 0, value_name = "AMOUNT", conflicts_with = "none")]
    pub price: i64,
    #[arg(long, default_value = "RUB", value_name = "CODE")]
    pub currency: Currency,
    /// It may not be tried any more
    #[arg(long)]
    pub none: bool,
}

pub(crate) async fn run(config: TariffsConfig) -> Result<u8, Exit> {
    let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
    let (mut conn, now) = (db.conn().await?, db.now());
    let mut out = std::io::stdout();
    match config.verb {
        TariffsVerb::List => {
            for tariff in tariffs::list(&mut conn, now).await? {
                let price = tariff.amount.in_currency(tariff.currency);
                write!(out, "{}  {price} for {}  {}", tariff.id, tariff.period, tariff.name)?;
                match tariff.trial() {
                    Some(trial) => writeln!(out, "  ({})", told(trial))?,
                    None => writeln!(out)?,
                }
            }
        }
        TariffsVerb::Stages(set) => {
            let confirm_after = (set.stages == 2).then_some(set.confirm_after);
            if !tariffs::set_two_stages(&mut conn, set.tariff, confirm_after, now).await? {
                return Err(refused(SetPriceError::UnknownTariff(set.tariff)));
            }
            writeln!(out, "{} works in {} stage(s)", set.tariff, set.stages)?;
        }
        TariffsVerb::Trial(set) => {
            let trial = set.days.map(|days| Trial { days, amount: Kopecks::new(set.price), currency: set.currency });
            let setting = tariffs::set_trial(&mut conn, set.tariff, trial, now);
            trail::follow(Trail::of(Source::Staff), setting).await.map_err(no_trial)?;
            writeln!(out, "{}", trial.map_or_else(|| "no trial".to_owned(), told))?;
        }
        TariffsVerb::Price(set) => {
            let price = TariffPrice {
                tariff_id: set.tariff,
                effective_from: set.from,
                amount: Kopecks::new(set.amount),
                currency: set.currency,
            };
            let notice = TimeDelta::from_std(set.notice).map_err(Exit::configuration)?;
            let setting = tariffs::set_price(&mut conn, price, notice, now);
            trail::follow(Trail::of(Source::Staff), setting).await.map_err(refused)?;
            writeln!(
                out,
                "{} from {} on",
                price.amount.in_currency(price.currency),
                price.effective_from.to_rfc3339()
            )?;
        }
    }
    Ok(exit::OK)
}

fn told(trial: Trial) -> String {
    let price = trial.amount.in_currency(trial.currency);
    format!("trial: {} days for {price}", trial.days)
}

fn refused(error: SetPriceError) -> Exit {
    match error {
        SetPriceError::Amount(_) => Exit::configuration(error),
        SetPriceError::Store(error) => error.into(),
        error => Exit { status: exit::FAILED, error: error.into() },
    }
}

fn no_trial(error: SetTrialError) -> Exit {
    match error {
        SetTrialError::Days { .. } | SetTrialError::Amount { .. } => Exit::configuration(error),
        SetTrialError::Store(error) => error.into(),
        SetTrialError::UnknownTariff(_) => Exit { status: exit::FAILED, error: error.into() },
    }
}
