//! Why a subscription is in its state.

use chrono::{DateTime, Utc};

use super::words::{time, times};
use super::{Explanation, Next, Text, When, Whom};
use crate::account::{Account, AccountStatus};
use crate::bill::BillKind;
use crate::decline::Rule;

/// A payment of a subscription that is under way.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay<'a> {
    /// What its bill is for.
    pub kind: BillKind,
    pub payment: &'a Explanation,
}

/// Why this subscription is in its state at `now`, and what comes next. `under_way`: the payment of its renewal, or of a
/// change of tariff at once. `refusal`: what its last refusal means, if it is overdue for that.
#[must_use]
pub fn account(
    account: &Account,
    under_way: Option<UnderWay<'_>>,
    refusal: Option<&Rule>,
    now: DateTime<Utc>,
) -> Explanation {
    match account.status {
        _ if account.closed_at.is_some() => closed(account),
        AccountStatus::Inactive => Explanation {
            why: Text::new("Nothing was ever paid.", "Оплат ещё не было."),
            next: waits_for_purchase(),
        },
        AccountStatus::Canceled => Explanation {
            why: Text::new("The subscription has ended.", "Подписка закончилась."),
            next: waits_for_purchase(),
        },
        AccountStatus::Active if account.cancel_at_period_end => {
            with_change(canceled_at_period_end(account), under_way)
        }
        AccountStatus::Active => with_change(active(account, renewal_of(under_way), now), under_way),
        AccountStatus::Overdue => with_change(overdue(account, renewal_of(under_way), refusal, now), under_way),
    }
}

fn renewal_of(under_way: Option<UnderWay<'_>>) -> Option<&Explanation> {
    under_way.filter(|under_way| under_way.kind != BillKind::Change).map(|under_way| under_way.payment)
}

/// A change of tariff at once comes before all else that is planned.
fn with_change(explained: Explanation, under_way: Option<UnderWay<'_>>) -> Explanation {
    let Some(UnderWay { kind: BillKind::Change, payment }) = under_way else { return explained };
    let Explanation { why, next } = explained;
    let why = Text::new(
        format!("{} Another tariff, from now on, is being charged.", why.en),
        format!("{} Идёт оплата перехода на другой тариф с этого дня.", why.ru),
    );
    let with_end = |what: &Text| {
        Text::new(
            format!(
                "{} Once it is paid a new period begins under that tariff; if not, the present one stays.",
                what.en
            ),
            format!(
                "{} После оплаты по этому тарифу начнётся новый период; без неё останется нынешний тариф.",
                what.ru
            ),
        )
    };
    let next = match &payment.next {
        Next::Step { at, what } => Next::Step { at: *at, what: with_end(what) },
        Next::WaitsFor { whom, what } => Next::WaitsFor { whom: *whom, what: with_end(what) },
        // It has just ended: what was planned before goes on.
        Next::Nothing => next,
    };
    Explanation { why, next }
}

fn closed(account: &Account) -> Explanation {
    if !account.is_running() {
        return Explanation {
            why: Text::new("The account is closed.", "Аккаунт закрыт."), next: Next::Nothing
        };
    }
    Explanation {
        why: Text::new(
            format!("The account is closed; {}.", runs_until(account).en),
            format!("Аккаунт закрыт; {}.", runs_until(account).ru),
        ),
        next: access_ends(account),
    }
}

fn access_ends(account: &Account) -> Next {
    Next::Step {
        at: account.access_until.map_or(When::Soon, When::At),
        what: Text::new("Access ends.", "Доступ закончится."),
    }
}

fn canceled_at_period_end(account: &Account) -> Explanation {
    Explanation {
        why: Text::new(
            format!("It was cancelled and is not renewed; {}.", runs_until(account).en),
            format!("Отменена и не продлевается; {}.", runs_until(account).ru),
        ),
        next: access_ends(account),
    }
}

fn active(account: &Account, renewal: Option<&Explanation>, now: DateTime<Utc>) -> Explanation {
    let paid = paid_until(account);
    let why = if account.is_on_trial() {
        Text::new(format!("It is a trial until {}.", paid.en), format!("Пробный период до {}.", paid.ru))
    } else {
        Text::new(format!("It is paid until {}.", paid.en), format!("Оплачена до {}.", paid.ru))
    };
    let why = with_choice(account, why);
    if let Some(renewal) = renewal {
        let why = if account.is_on_trial() {
            Text::new(
                format!("{} The tariff is being charged in full for the first time.", why.en),
                format!("{} Идёт первое списание полной цены тарифа.", why.ru),
            )
        } else {
            Text::new(
                format!("{} The next period is being charged.", why.en),
                format!("{} Идёт оплата следующего периода.", why.ru),
            )
        };
        return Explanation { why, next: renewal.next.clone() };
    }
    if !account.can_be_charged() {
        let what = Text::new(
            "No card may be charged: the customer must pay the next period with a card.",
            "Нет карты для списания: следующий период покупатель должен оплатить картой.",
        );
        return Explanation { why, next: Next::WaitsFor { whom: Whom::Customer, what } };
    }
    let at = account.next_charge_at.filter(|at| *at > now).map_or(When::Soon, When::At);
    let what = if account.is_on_trial() {
        Text::new(
            "The trial ends, and the tariff is charged in full for the first time, unless it is cancelled before.",
            "Пробный период закончится, и впервые будет списана полная цена тарифа, если подписку не отменят раньше.",
        )
    } else {
        Text::new("The next period is charged.", "Будет списана оплата следующего периода.")
    };
    Explanation { why, next: Next::Step { at, what } }
}

fn overdue(
    account: &Account,
    renewal: Option<&Explanation>,
    refusal: Option<&Rule>,
    now: DateTime<Utc>,
) -> Explanation {
    let refused = times(account.declines);
    let why = if account.declines > 0 {
        if account.is_on_trial() {
            Text::new(
                format!("The trial is over, and its first full charge was refused {}.", refused.en),
                format!("Пробный период окончен, первое списание полной цены отклонено {}.", refused.ru),
            )
        } else {
            Text::new(
                format!("The renewal was refused {}.", refused.en),
                format!("Продление отклонено {}.", refused.ru),
            )
        }
    } else if account.can_be_charged() {
        Text::new("The renewal could not be charged.", "Продление не удалось списать.")
    } else {
        Text::new("There is no card that may be charged.", "Нет карты, с которой можно списать.")
    };
    let why = match refusal {
        Some(rule) => Text::new(format!("{} {}", why.en, rule.message.en), format!("{} {}", why.ru, rule.message.ru)),
        None => why,
    };
    let until = account.access_until.map(|at| time(at, account.time_zone));
    let why = match until {
        Some(until) => Text::new(
            format!("{} Access goes on until {}.", why.en, until.en),
            format!("{} Доступ сохраняется до {}.", why.ru, until.ru),
        ),
        None => why,
    };
    let why = with_choice(account, why);
    if let Some(renewal) = renewal {
        return Explanation { why, next: renewal.next.clone() };
    }
    let next = match account.next_charge_at {
        Some(at) if account.can_be_charged() => Next::Step {
            at: if at > now { When::At(at) } else { When::Soon },
            what: and_the_customer(Text::new("The charge is tried again.", "Списание повторят."), refusal),
        },
        _ => Next::WaitsFor {
            whom: Whom::Customer,
            what: and_the_customer(
                Text::new(
                    "It is not tried again by itself: the customer must pay with a card.",
                    "Само списание не повторится: покупатель должен оплатить картой.",
                ),
                refusal,
            ),
        },
    };
    Explanation { why, next }
}

/// With what the customer can do about the refusal.
fn and_the_customer(what: Text, refusal: Option<&Rule>) -> Text {
    let action = refusal.map(|rule| rule.action.text()).filter(|text| !text.en.is_empty());
    match action {
        Some(action) => Text::new(format!("{} {}", what.en, action.en), format!("{} {}", what.ru, action.ru)),
        None => what,
    }
}

/// That another tariff was chosen.
fn with_choice(account: &Account, why: Text) -> Text {
    if account.pending_tariff_id.is_none() {
        return why;
    }
    Text::new(
        format!("{} Another tariff was chosen from the next period on.", why.en),
        format!("{} Со следующего периода выбран другой тариф.", why.ru),
    )
}

/// Until when it runs, and whether for money.
fn runs_until(account: &Account) -> Text {
    let until = paid_until(account);
    if account.is_on_trial() {
        return Text::new(format!("the trial runs until {}", until.en), format!("пробный период до {}", until.ru));
    }
    Text::new(format!("it is paid until {}", until.en), format!("оплачено до {}", until.ru))
}

fn paid_until(account: &Account) -> Text {
    account.paid_until.map_or_else(|| Text::new("?", "?"), |at| time(at, account.time_zone))
}

fn waits_for_purchase() -> Next {
    let what = Text::new("The customer may buy a tariff.", "Покупатель может оформить подписку.");
    Next::WaitsFor { whom: Whom::Customer, what }
}
