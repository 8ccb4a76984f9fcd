//! Each thing that can be set: what is set now, how it is set, and what takes it back.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};

use super::SettingError;
use crate::decline::{DeclineGroup, Rule, Schedule};
use crate::macros::text_enum;
use crate::models::{TariffPrice, Trial};
use crate::schema::{decline_rule, decline_schedule, refund_limit, tariff, tariff_price};
use crate::store::declines::{self, Author};
use crate::store::refunds::{Limit, set_limit};
use crate::store::tariffs;
use crate::{Currency, Kopecks, TariffId};

text_enum! {
    /// What can be set.
    pub enum SettingKind {
        /// Of a tariff: the prices that are to come.
        Price = "price",
        /// Of a tariff: what it may be tried for.
        Trial = "trial",
        /// Of a tariff: whether money is held first.
        Stages = "stages",
        /// Of a tariff: whether it is sold.
        Sale = "sale",
        /// Of a group of refusals: when a charge is tried again.
        Schedule = "schedule",
        /// Of a code: what a refusal means.
        Rule = "rule",
        /// Of a role: how much it may give back.
        Limit = "limit",
    }
}

/// What is to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Price(TariffPrice),
    /// A price that is not in force yet is taken away.
    NoPrice {
        tariff_id: TariffId,
        effective_from: DateTime<Utc>,
    },
    Trial {
        tariff_id: TariffId,
        trial: Option<Trial>,
    },
    /// `None`: money is taken at once; otherwise so many days after it was held.
    Stages {
        tariff_id: TariffId,
        confirm_after: Option<i32>,
    },
    Sale {
        tariff_id: TariffId,
        is_active: bool,
    },
    Schedule {
        group: DeclineGroup,
        hours: Vec<i32>,
    },
    Rule(Rule),
    Limit(Limit),
}

impl Setting {
    #[must_use]
    pub const fn kind(&self) -> SettingKind {
        match self {
            Self::Price(_) | Self::NoPrice { .. } => SettingKind::Price,
            Self::Trial { .. } => SettingKind::Trial,
            Self::Stages { .. } => SettingKind::Stages,
            Self::Sale { .. } => SettingKind::Sale,
            Self::Schedule { .. } => SettingKind::Schedule,
            Self::Rule(_) => SettingKind::Rule,
            Self::Limit(_) => SettingKind::Limit,
        }
    }

    /// Of which tariff, group, code or role.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Price(TariffPrice { tariff_id, .. })
            | Self::NoPrice { tariff_id, .. }
            | Self::Trial { tariff_id, .. }
            | Self::Stages { tariff_id, .. }
            | Self::Sale { tariff_id, .. } => tariff_id.to_string(),
            Self::Schedule { group, .. } => group.to_string(),
            Self::Rule(rule) => rule.code.to_string(),
            Self::Limit(limit) => limit.role.clone(),
        }
    }
}

/// What is set now, as the changes keep it.
pub(super) async fn standing(
    conn: &mut AsyncPgConnection,
    kind: SettingKind,
    subject: &str,
) -> Result<Value, SettingError> {
    let unknown = || SettingError::Unknown { kind, subject: subject.to_owned() };
    match kind {
        SettingKind::Price => {
            let id: TariffId = subject.parse().map_err(|_| unknown())?;
            let prices: Vec<TariffPrice> = tariff_price::table
                .filter(tariff_price::tariff_id.eq(id))
                .order(tariff_price::effective_from)
                .select(TariffPrice::as_select())
                .load(conn)
                .await?;
            Ok(prices.iter().map(price_json).collect())
        }
        SettingKind::Trial | SettingKind::Stages | SettingKind::Sale => {
            let id: TariffId = subject.parse().map_err(|_| unknown())?;
            type Row = ((Option<i32>, Option<Kopecks>, Option<Currency>), (bool, i32, bool));
            let columns = (
                (tariff::trial_days, tariff::trial_amount, tariff::trial_currency),
                (tariff::two_stages, tariff::confirm_after, tariff::is_active),
            );
            let row: Option<Row> = tariff::table.find(id).select(columns).first(conn).await.optional()?;
            let ((days, amount, currency), (two_stages, confirm_after, is_active)) = row.ok_or_else(unknown)?;
            Ok(match kind {
                SettingKind::Trial => days.map_or(
                    Value::Null,
                    |days| json!({ "days": days, "amount": amount.map(Kopecks::get), "currency": currency.map(|it| it.as_str().to_owned()) }),
                ),
                SettingKind::Stages => json!({ "confirm_after": two_stages.then_some(confirm_after) }),
                _ => json!({ "on_sale": is_active }),
            })
        }
        SettingKind::Schedule => {
            let group: DeclineGroup = subject.parse().map_err(|_| unknown())?;
            let hours = decline_schedule::table.find(group).select(decline_schedule::hours).first(conn).await;
            Ok(hours.optional()?.unwrap_or(Value::Null))
        }
        SettingKind::Rule => {
            let code: i32 = subject.parse().map_err(|_| unknown())?;
            let known: i64 = decline_rule::table.filter(decline_rule::code.eq(code)).count().get_result(conn).await?;
            let rule = declines::ruling(conn, code).await.map_err(crate::store::StoreError::from)?.rule;
            Ok(if known > 0 { declines::rule_json(&rule) } else { Value::Null })
        }
        SettingKind::Limit => {
            let row = refund_limit::table.find(subject).select(Limit::as_select()).first(conn).await.optional()?;
            let Limit { alone, approves, .. } = row.ok_or_else(unknown)?;
            Ok(json!({ "alone": alone.get(), "approves": approves.get() }))
        }
    }
}

fn price_json(price: &TariffPrice) -> Value {
    json!({
        "from": price.effective_from,
        "amount": price.amount.get(),
        "currency": price.currency.as_str(),
    })
}

/// Sets it.
pub(super) async fn write(
    conn: &mut AsyncPgConnection,
    setting: &Setting,
    author: &Author,
    notice: TimeDelta,
) -> Result<(), SettingError> {
    let now = author.now;
    let unknown = || SettingError::Unknown { kind: setting.kind(), subject: setting.subject() };
    match setting {
        Setting::Price(price) => tariffs::set_price(conn, *price, notice, now).await?,
        Setting::NoPrice { tariff_id, effective_from } => {
            if !tariffs::withdraw_price(conn, *tariff_id, *effective_from, now).await? {
                return Err(SettingError::NotToCome);
            }
        }
        Setting::Trial { tariff_id, trial } => tariffs::set_trial(conn, *tariff_id, *trial, now).await?,
        Setting::Stages { tariff_id, confirm_after } => {
            if confirm_after.is_some_and(|days| !(0..=tariffs::MAX_CONFIRM_AFTER).contains(&days)) {
                return Err(SettingError::HoldDays);
            }
            let set = tariffs::set_two_stages(conn, *tariff_id, *confirm_after, now).await;
            set.map_err(crate::store::StoreError::from)?.then_some(()).ok_or_else(unknown)?;
        }
        Setting::Sale { tariff_id, is_active } => {
            tariffs::set_on_sale(conn, *tariff_id, *is_active, now).await?.then_some(()).ok_or_else(unknown)?;
        }
        Setting::Schedule { group, hours } => drop(declines::set_schedule(conn, *group, hours, author).await?),
        Setting::Rule(rule) => drop(declines::set_rule(conn, rule, author).await?),
        Setting::Limit(limit) => {
            let bounds = Kopecks::ZERO..=Kopecks::MAX;
            if !bounds.contains(&limit.alone) || !bounds.contains(&limit.approves) {
                return Err(SettingError::Limit);
            }
            set_limit(conn, limit).await?.then_some(()).ok_or_else(unknown)?;
        }
    }
    Ok(())
}

/// What takes a change back.
pub(super) fn inverse(kind: SettingKind, subject: &str, before: &Value, after: &Value) -> Option<Setting> {
    let number = |value: &Value| value.as_i64();
    Some(match kind {
        SettingKind::Price => {
            let tariff_id: TariffId = subject.parse().ok()?;
            let (before, after) = (before.as_array()?, after.as_array()?);
            let only_in = |these: &[Value], those: &[Value]| these.iter().find(|it| !those.contains(it)).cloned();
            match (only_in(after, before), only_in(before, after)) {
                (Some(added), None) => {
                    Setting::NoPrice { tariff_id, effective_from: added["from"].as_str()?.parse().ok()? }
                }
                (None, Some(taken)) => Setting::Price(TariffPrice {
                    tariff_id,
                    effective_from: taken["from"].as_str()?.parse().ok()?,
                    amount: Kopecks::new(number(&taken["amount"])?),
                    currency: taken["currency"].as_str()?.parse().ok()?,
                }),
                _ => return None,
            }
        }
        SettingKind::Trial => {
            let trial = match before {
                Value::Null => None,
                set => Some(Trial {
                    days: i32::try_from(number(&set["days"])?).ok()?,
                    amount: Kopecks::new(number(&set["amount"])?),
                    currency: set["currency"].as_str()?.parse().ok()?,
                }),
            };
            Setting::Trial { tariff_id: subject.parse().ok()?, trial }
        }
        SettingKind::Stages => {
            let confirm_after = number(&before["confirm_after"]).map(i32::try_from).transpose().ok()?;
            Setting::Stages { tariff_id: subject.parse().ok()?, confirm_after }
        }
        SettingKind::Sale => {
            Setting::Sale { tariff_id: subject.parse().ok()?, is_active: before["on_sale"].as_bool()? }
        }
        SettingKind::Schedule => {
            let group: DeclineGroup = subject.parse().ok()?;
            let hours = match before.as_array() {
                Some(hours) => hours.iter().map(|it| i32::try_from(number(it)?).ok()).collect::<Option<_>>()?,
                None => Schedule::seeded(group).hours().to_vec(),
            };
            Setting::Schedule { group, hours }
        }
        SettingKind::Rule => Setting::Rule(declines::rule_of(subject.parse().ok()?, before)?),
        SettingKind::Limit => Setting::Limit(Limit {
            role: subject.to_owned(),
            alone: Kopecks::new(number(&before["alone"])?),
            approves: Kopecks::new(number(&before["approves"])?),
        }),
    })
}
