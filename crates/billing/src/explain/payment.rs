//! Why a payment is in its state.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::words::{money, time, times};
use super::{Explanation, Next, Text, When, Whom};
use crate::bill::TrialRefusal;
use crate::payment::{Payment, PaymentState};
use crate::resolve::{ResolvePolicy, Sent, Step};

/// What the explanation of a payment depends on.
#[derive(Debug, Clone, Copy)]
pub struct PaymentFacts<'a> {
    pub payment: &'a Payment,
    /// How the gateway is asked about what is in doubt.
    pub policy: &'a ResolvePolicy,
    /// How long a request may wait for its answer before its sender is believed dead.
    pub answer_within: TimeDelta,
    /// On whose wall clocks times are told.
    pub zone: Tz,
}

/// Why this payment is in its state at `now`, and what comes next.
#[must_use]
pub fn payment(facts: PaymentFacts<'_>, now: DateTime<Utc>) -> Explanation {
    let payment = facts.payment;
    if let Some(explained) = payment.trial_refused.and_then(|why| without_a_trial(payment, why, now)) {
        return explained;
    }
    match payment.state {
        PaymentState::Created => created(&facts, now),
        PaymentState::Sending | PaymentState::PostingThreeDs => on_its_way(&facts),
        PaymentState::AwaitingThreeDs => on_the_bank_page(&facts),
        PaymentState::Unknown => in_doubt(&facts, now),
        PaymentState::Authorized if payment.verifies => Explanation {
            why: Text::new(
                "The card is good and is charged from now on; what was held on it to see that is not let go yet.",
                "Карта проверена, и далее списания пойдут с неё; удержанное для проверки ещё не отпущено.",
            ),
            next: Next::Step {
                at: payment.look_again_at.filter(|at| *at > now).map_or(When::Soon, When::At),
                what: Text::new("The money is let go.", "Деньги будут отпущены."),
            },
        },
        PaymentState::Authorized => Explanation {
            why: Text::new(
                "The bank holds the money on the card; it was not taken yet: the terminal works in two stages.",
                "Банк удерживает деньги на карте, они ещё не списаны: терминал работает в две стадии.",
            ),
            next: Next::Step {
                at: payment.look_again_at.filter(|at| *at > now).map_or(When::Soon, When::At),
                what: Text::new(
                    "The money is taken, or let go if it is not owed any more.",
                    "Деньги будут списаны или отпущены, если платить уже не за что.",
                ),
            },
        },
        PaymentState::SucceededDuplicate if payment.verifies => Explanation {
            why: Text::new(
                "The money was taken although it should only have been held, to verify the card.",
                "Деньги списаны, хотя для проверки карты их нужно было только удержать.",
            ),
            next: Next::Step {
                at: When::Soon,
                what: Text::new(
                    "The money goes back by itself, if it is not back yet.",
                    "Деньги вернутся сами, если ещё не возвращены.",
                ),
            },
        },
        PaymentState::SucceededDuplicate => Explanation {
            why: Text::new(
                "The money was taken although nothing was owed any more.",
                "Деньги списаны, хотя платить было уже не за что.",
            ),
            next: Next::Step {
                at: When::Soon,
                what: Text::new(
                    "The money goes back by itself, if it is not back yet.",
                    "Деньги вернутся сами, если ещё не возвращены.",
                ),
            },
        },
        PaymentState::Rejected => Explanation {
            why: Text::new(
                format!(
                    "The gateway did not take our request; the card is not the reason.{}",
                    said(payment, "It said")
                ),
                format!("Шлюз не принял наш запрос, дело не в карте.{}", said(payment, "Ответ шлюза")),
            ),
            next: Next::WaitsFor {
                whom: Whom::Staff,
                what: Text::new(
                    "Correct the settings of the terminal or ours.",
                    "Исправьте настройки терминала или наши.",
                ),
            },
        },
        PaymentState::Succeeded
        | PaymentState::Declined
        | PaymentState::Abandoned
        | PaymentState::NotExecuted
        | PaymentState::Voided
        | PaymentState::Verified => Explanation { why: ended(payment), next: Next::Nothing },
    }
}

/// The card is good, and yet no trial begins with this payment. `None`: it is not the attempt that this is about.
fn without_a_trial(payment: &Payment, why: TrialRefusal, now: DateTime<Utc>) -> Option<Explanation> {
    let because = match why {
        TrialRefusal::Used => Text::new(
            "this card, or this account, has had its trial",
            "у этой карты или этого аккаунта пробный период уже был",
        ),
        TrialRefusal::NotKept => Text::new(
            "the gateway lets the card not be charged later",
            "шлюз не разрешает списывать с этой карты в дальнейшем",
        ),
        TrialRefusal::Late => Text::new(
            "that the card is good was known too late",
            "о том, что карта годна, стало известно слишком поздно",
        ),
    };
    let why = |en: &str, ru: &str| {
        Text::new(
            format!("No trial begins: {}. {en}", because.en),
            format!("Пробный период не начат: {}. {ru}", because.ru),
        )
    };
    Some(match payment.state {
        PaymentState::Authorized => Explanation {
            why: why("What is held on the card is not let go yet.", "Удержанное на карте ещё не отпущено."),
            next: Next::Step {
                at: payment.look_again_at.filter(|at| *at > now).map_or(When::Soon, When::At),
                what: Text::new("The money is let go.", "Деньги будут отпущены."),
            },
        },
        PaymentState::Verified | PaymentState::Voided => Explanation {
            why: why("What was held on the card was let go.", "Удержанное на карте отпущено."),
            next: Next::Nothing,
        },
        PaymentState::SucceededDuplicate => Explanation {
            why: why("Money was taken for it.", "Деньги за него списаны."),
            next: Next::WaitsFor {
                whom: Whom::Staff, what: Text::new("Give the money back.", "Верните деньги.")
            },
        },
        _ => return None,
    })
}

fn created(facts: &PaymentFacts<'_>, now: DateTime<Utc>) -> Explanation {
    let put_off = facts.payment.look_again_at.filter(|at| *at > now);
    let why = match put_off {
        Some(_) => Text::new(
            format!("The gateway did not process it and is asked again later.{}", said(facts.payment, "Because")),
            format!("Шлюз не обработал запрос, он будет повторён позже.{}", said(facts.payment, "Причина")),
        ),
        None => Text::new("It waits for a free worker.", "Ожидает свободного обработчика."),
    };
    let what = if facts.payment.verifies {
        Text::new("The card is verified.", "Проверка карты.")
    } else {
        Text::new("The card is charged.", "Списание с карты.")
    };
    Explanation { why, next: Next::Step { at: put_off.map_or(When::Soon, When::At), what } }
}

fn on_its_way(facts: &PaymentFacts<'_>) -> Explanation {
    let sent = facts.payment.last_sent_at;
    let why = match sent.map(|at| time(at, facts.zone)) {
        Some(at) => Text::new(
            format!("The request was sent to the gateway at {}; no answer was written down yet.", at.en),
            format!("Запрос отправлен шлюзу {}; ответ ещё не записан.", at.ru),
        ),
        None => Text::new(
            "The customer's answer to the bank's page waits to be passed on.",
            "Ответ покупателя со страницы банка ожидает передачи шлюзу.",
        ),
    };
    let what = Text::new(
        "If no answer comes by then, the gateway is asked what became of it.",
        "Если ответ не придёт, шлюз спросят о судьбе платежа.",
    );
    Explanation { why, next: Next::Step { at: sent.map_or(When::Soon, |at| When::At(at + facts.answer_within)), what } }
}

fn on_the_bank_page(facts: &PaymentFacts<'_>) -> Explanation {
    let why = Text::new(
        "The bank asks the customer to confirm the payment on its own page.",
        "Банк просит покупателя подтвердить платёж на своей странице.",
    );
    let what = Text::new(
        "Without an answer by then the payment is given up, unless the gateway knows better.",
        "Без ответа платёж будет закрыт, если шлюз не знает о нём другого.",
    );
    let at = facts.payment.three_ds.as_ref().map_or(When::Soon, |asked| When::At(asked.expires_at));
    Explanation { why, next: Next::Step { at, what } }
}

fn in_doubt(facts: &PaymentFacts<'_>, now: DateTime<Utc>) -> Explanation {
    let payment = facts.payment;
    let (sends, posts) = (times(payment.sends), payment.posts > 0);
    let why = Text::new(
        format!(
            "It is not known whether the {}: the {} was sent {}, and no clear answer came.{}",
            if payment.verifies { "card is good" } else { "money was taken" },
            if posts { "answer to the bank's page" } else { "request" },
            sends.en,
            said(payment, "The last word"),
        ),
        format!(
            "Неизвестно, {}: {} {}, ясного ответа нет.{}",
            if payment.verifies { "годна ли карта" } else { "списаны ли деньги" },
            if posts {
                "ответ со страницы банка отправлен"
            } else {
                "запрос отправлен"
            },
            sends.ru,
            said(payment, "Последнее известие"),
        ),
    );
    let Some(at) = payment.look_again_at else {
        let what = Text::new(
            "Find the payment in the gateway's cabinet and close it with the evidence.",
            "Найдите платёж в кабинете шлюза и закройте его с подтверждением.",
        );
        return Explanation { why, next: Next::WaitsFor { whom: Whom::Staff, what } };
    };
    let sent = payment.first_sent_at.zip(payment.last_sent_at);
    let step = sent.map(|(first_at, last_at)| {
        facts.policy.step(&Sent { first_at, last_at, absent_at: payment.absent_at }, at.max(now))
    });
    let what = match step {
        Some(Step::LookThenResend) => Text::new(
            "The gateway is asked; if it knows nothing, the identical request is repeated, which cannot charge twice.",
            "Шлюз спросят; если он ничего не знает, тот же запрос повторят – второго списания это не вызовет.",
        ),
        Some(Step::LookEverywhere) => Text::new(
            "The gateway is asked, by number and in the list of the day; found in neither, twice, it was not charged.",
            "Шлюз спросят по номеру и по списку за день; если платежа дважды нет нигде, списания не было.",
        ),
        Some(Step::Look) | None => {
            Text::new("The gateway is asked what became of it.", "Шлюз спросят о судьбе платежа.")
        }
    };
    Explanation { why, next: Next::Step { at: When::At(at), what } }
}

fn ended(payment: &Payment) -> Text {
    match payment.state {
        PaymentState::Succeeded => {
            let amount = money(payment.amount, payment.currency);
            Text::new(format!("{} were taken.", amount.en), format!("Списано {}.", amount.ru))
        }
        PaymentState::Declined => match &payment.decline {
            Some(decline) => Text::new(
                format!("The bank declined: {} ({} {}).", decline.message, decline.code, decline.reason),
                format!("Банк отклонил платёж: {} ({} {}).", decline.message, decline.code, decline.reason),
            ),
            None => Text::new("The bank declined.", "Банк отклонил платёж."),
        },
        PaymentState::Abandoned => Text::new(
            "The bank's page was not answered in time; nothing was taken.",
            "На странице банка не ответили вовремя; деньги не списаны.",
        ),
        PaymentState::Verified => Text::new(
            "The card was verified; what was held on it for that was let go, and nothing was taken.",
            "Карта проверена; удержанное для проверки отпущено, деньги не списаны.",
        ),
        PaymentState::Voided => {
            Text::new("The hold was released; nothing was taken.", "Удержание снято; деньги не списаны.")
        }
        _ => Text::new(
            format!("Nothing was taken.{}", said(payment, "Because")),
            format!("Деньги не списаны.{}", said(payment, "Причина")),
        ),
    }
}

/// The last remark of the row, if there is one.
fn said(payment: &Payment, introduced_by: &str) -> String {
    payment.info.as_ref().map(|info| format!(" {introduced_by}: {info}.")).unwrap_or_default()
}
