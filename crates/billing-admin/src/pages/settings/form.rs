//! Settings as people type them and read them.

use billing::decline::{CustomerAction, DeclineGroup, Rule, Ruling, Schedule};
use billing::models::{TariffPrice, Trial};
use billing::store::refunds::Limit;
use billing::store::staff::{Setting, SettingError, SettingKind};
use billing::store::tariffs::{SetPriceError, SetTrialError};
use billing::store::{declines, refunds, tariffs};
use billing::text::Text;
use billing::{Currency, Kopecks, TariffId};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use serde_json::Value;

use crate::lang::Lang;
use crate::page::{Choice, Problem, Shell};
use crate::params::Params;
use crate::show::{self, When};
use crate::words;

/// One field of a form.
pub(crate) enum Field {
    /// An `<input>` of this type.
    Input {
        name: &'static str,
        label: &'static str,
        kind: &'static str,
        value: String,
        hint: &'static str,
    },
    Choice {
        name: &'static str,
        label: &'static str,
        choices: Vec<Choice>,
    },
}

/// What somebody has typed.
pub(crate) enum Typed {
    /// The form has not been sent.
    Nothing,
    Wrong(&'static str),
    Setting(Setting),
}

/// The names of the fields of a form.
pub(crate) const fn names(kind: SettingKind) -> &'static [&'static str] {
    match kind {
        SettingKind::Price => &["amount", "from", "withdraw"],
        SettingKind::Trial => &["days", "amount"],
        SettingKind::Stages => &["stages", "days"],
        SettingKind::Sale => &["sale"],
        SettingKind::Schedule => &["hours"],
        SettingKind::Rule => &["group", "tries", "action", "ru", "en"],
        SettingKind::Limit => &["alone", "approves"],
    }
}

pub(crate) const fn kind(kind: SettingKind, lang: Lang) -> &'static str {
    match kind {
        SettingKind::Price => lang.of("Price", "Цена"),
        SettingKind::Trial => lang.of("Trial", "Пробный период"),
        SettingKind::Stages => lang.of("How money is taken", "Как списываются деньги"),
        SettingKind::Sale => lang.of("Sale", "Продажа"),
        SettingKind::Schedule => {
            lang.of("When a refused charge is tried again", "Когда повторяется отклонённое списание")
        }
        SettingKind::Rule => lang.of("What a refusal means", "Что означает отказ"),
        SettingKind::Limit => lang.of("How much may be given back", "Сколько можно вернуть"),
    }
}

pub(crate) fn role(role: &str, lang: Lang) -> String {
    role.parse().map_or_else(|_| role.to_owned(), |role| words::role(role, lang).to_owned())
}

pub(crate) fn subject(kind: SettingKind, subject: &str, names: &[(TariffId, String)], lang: Lang) -> String {
    match kind {
        SettingKind::Schedule => {
            subject.parse().map_or_else(|_| subject.to_owned(), |it| words::group(it, lang).to_owned())
        }
        SettingKind::Limit => role(subject, lang),
        SettingKind::Rule => subject.to_owned(),
        _ => {
            names.iter().find(|(id, _)| id.to_string() == subject).map_or(subject.to_owned(), |(_, name)| name.clone())
        }
    }
}

/// `29 h, 72 h`.
pub(crate) fn hours(hours: &[i32], lang: Lang) -> String {
    let hours: Vec<String> = hours.iter().map(|hours| format!("{hours} {}", lang.of("h", "ч"))).collect();
    if hours.is_empty() { lang.of("never", "никогда").to_owned() } else { hours.join(", ") }
}

/// What is set, in words.
pub(crate) fn says(kind: SettingKind, value: &Value, shell: &Shell) -> String {
    let lang = shell.lang();
    let number = |name: &str| value[name].as_i64().unwrap_or_default();
    let currency = |value: &Value| value["currency"].as_str().and_then(|it| it.parse().ok()).unwrap_or(Currency::RUB);
    let money = |amount: i64| show::money(Kopecks::new(amount), Currency::RUB, lang);
    match kind {
        SettingKind::Price => {
            let prices = value.as_array().into_iter().flatten().map(|price| {
                let from = price["from"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok()).unwrap_or_default();
                let from = from.with_timezone(&shell.zone).format(lang.of("%-d %b %Y", "%d.%m.%Y"));
                let amount = Kopecks::new(price["amount"].as_i64().unwrap_or_default());
                format!("{} {} {from}", show::money(amount, currency(price), lang), lang.of("from", "с"))
            });
            let prices: Vec<String> = prices.collect();
            let first = lang.of("the first price", "первая цена").to_owned();
            if prices.is_empty() { first } else { prices.join("; ") }
        }
        SettingKind::Trial if value.is_null() => lang.of("none", "нет").to_owned(),
        SettingKind::Trial => {
            let days = number("days").unsigned_abs();
            let unit = lang.counted(days, ["day", "days"], ["день", "дня", "дней"]);
            format!("{days} {unit}, {}", show::money(Kopecks::new(number("amount")), currency(value), lang))
        }
        SettingKind::Stages => match value["confirm_after"].as_i64() {
            None => lang.of("taken at once", "списываются сразу").to_owned(),
            Some(days) => {
                format!("{} {days}", lang.of("held, and taken after days:", "удерживаются, списываются через дней:"))
            }
        },
        SettingKind::Sale if value["on_sale"] == true => lang.of("on sale", "продаётся").to_owned(),
        SettingKind::Sale => lang.of("not on sale", "не продаётся").to_owned(),
        SettingKind::Schedule => {
            let list = value.as_array().into_iter().flatten().filter_map(|it| i32::try_from(it.as_i64()?).ok());
            hours(&list.collect::<Vec<_>>(), lang)
        }
        SettingKind::Rule if value.is_null() => lang.of("as its kind", "как у группы").to_owned(),
        SettingKind::Rule => {
            let group = value["group"].as_str().and_then(|it| it.parse().ok());
            let group = group.map_or("", |group| words::group(group, lang));
            let tries = lang.of("tries at most", "повторов не более");
            let message = value[lang.of("en", "ru")].as_str().unwrap_or_default();
            format!("{group}; {tries} {}; «{message}»", number("max_retries"))
        }
        SettingKind::Limit => format!(
            "{} {}; {} {}",
            lang.of("alone", "самостоятельно"),
            money(number("alone")),
            lang.of("as the second person", "вторым лицом"),
            money(number("approves"))
        ),
    }
}

/// What is to be set, as it was typed.
pub(crate) fn read(kind: SettingKind, subject: &str, typed: &Params, shell: &Shell) -> Typed {
    if names(kind).iter().all(|name| typed.get(name).is_empty()) {
        return Typed::Nothing;
    }
    let lang = shell.lang();
    let of = |field: Option<Setting>, wrong| field.map_or(Typed::Wrong(wrong), Typed::Setting);
    let tariff_id: Option<TariffId> = subject.parse().ok();
    let amount = |name| show::parsed_amount(typed.get(name));
    match kind {
        SettingKind::Price if !typed.get("withdraw").is_empty() => {
            let from = typed.get("withdraw").parse().ok();
            let setting =
                tariff_id.zip(from).map(|(tariff_id, effective_from)| Setting::NoPrice { tariff_id, effective_from });
            of(setting, lang.of("There is no such price to come.", "Такой будущей цены нет."))
        }
        SettingKind::Price => {
            let from =
                typed.get("from").parse::<NaiveDate>().ok().and_then(|day| super::super::midnight(day, shell.zone));
            let setting = tariff_id.zip(from).zip(amount("amount")).map(|((tariff_id, effective_from), amount)| {
                Setting::Price(TariffPrice { tariff_id, effective_from, amount, currency: Currency::RUB })
            });
            of(setting, lang.of("A price in roubles and a day, please.", "Нужны цена в рублях и день."))
        }
        SettingKind::Trial => {
            let days: Option<i32> = typed.get("days").parse().ok();
            let price = if typed.get("amount").is_empty() { Some(Kopecks::ZERO) } else { amount("amount") };
            let trial = days.zip(price).map(|(days, amount)| Trial { days, amount, currency: Currency::RUB });
            let setting = tariff_id.zip(trial).map(|(tariff_id, trial)| {
                let trial = (trial.days != 0).then_some(trial);
                Setting::Trial { tariff_id, trial }
            });
            of(
                setting,
                lang.of(
                    "Days, and a price in roubles, please; 0 days: no trial.",
                    "Нужны дни и цена в рублях; 0 дней: пробного периода нет.",
                ),
            )
        }
        SettingKind::Stages => {
            let confirm_after = match typed.get("stages") {
                "one" => Some(None),
                _ => typed.get("days").parse().ok().map(Some),
            };
            let setting = tariff_id.zip(confirm_after);
            let setting = setting.map(|(tariff_id, confirm_after)| Setting::Stages { tariff_id, confirm_after });
            of(
                setting,
                lang.of("Say after how many days the money is taken.", "Укажите, через сколько дней списать деньги."),
            )
        }
        SettingKind::Sale => {
            let is_active = typed.get("sale") == "yes";
            of(tariff_id.map(|tariff_id| Setting::Sale { tariff_id, is_active }), "")
        }
        SettingKind::Schedule => {
            let parts = typed.get("hours").split([',', ' ', ';']).filter(|part| !part.is_empty() && *part != "-");
            let hours: Option<Vec<i32>> = parts.map(|part| part.parse().ok()).collect();
            let setting = subject.parse().ok().zip(hours).map(|(group, hours)| Setting::Schedule { group, hours });
            of(
                setting,
                lang.of(
                    "Hours after the first refusal, with commas between, please; - for never.",
                    "Нужны часы после первого отказа через запятую; - значит «никогда».",
                ),
            )
        }
        SettingKind::Rule => {
            let rule = (|| {
                Some(Rule {
                    code: subject.parse().ok()?,
                    group: typed.get("group").parse().ok()?,
                    max_retries: typed.get("tries").parse().ok()?,
                    action: typed.get("action").parse().ok()?,
                    message: Text::new(typed.get("en"), typed.get("ru")),
                })
            })();
            of(rule.map(Setting::Rule), lang.of("From 0 to 8 tries.", "Попыток может быть от 0 до 8."))
        }
        SettingKind::Limit => {
            let limit = amount("alone").zip(amount("approves"));
            let limit =
                limit.map(|(alone, approves)| Setting::Limit(Limit { role: subject.to_owned(), alone, approves }));
            of(limit, lang.of("Both amounts in roubles, please.", "Нужны обе суммы в рублях."))
        }
    }
}

/// The fields, with what was typed, or what is set now.
pub(crate) async fn fields(
    conn: &mut AsyncPgConnection,
    kind: SettingKind,
    subject: &str,
    typed: &Params,
    shell: &Shell,
) -> Result<Vec<Field>, Problem> {
    let lang = shell.lang();
    let typed_or = |name: &'static str, now: String| {
        let value = typed.get(name);
        if value.is_empty() { now } else { value.to_owned() }
    };
    let input = |name, label, kind, value| Field::Input { name, label, kind, value, hint: "" };
    let rubles = lang.of("in roubles", "в рублях");
    let tariff = match subject.parse::<TariffId>() {
        Ok(id) => tariffs::get(conn, id, shell.now).await?,
        Err(_) => None,
    };
    let amount = |amount: Kopecks| show::typed_amount(amount, Currency::RUB);
    Ok(match kind {
        SettingKind::Price => {
            let now = tariff.map(|tariff| amount(tariff.amount)).unwrap_or_default();
            vec![
                Field::Input {
                    name: "amount",
                    label: lang.of("Price", "Цена"),
                    kind: "text",
                    value: typed_or("amount", now),
                    hint: rubles,
                },
                input("from", lang.of("From the day", "С дня"), "date", typed_or("from", String::new())),
            ]
        }
        SettingKind::Trial => {
            let trial = tariff.and_then(|tariff| tariff.trial());
            let (days, price) = trial.map_or((0, Kopecks::ZERO), |trial| (trial.days, trial.amount));
            vec![
                Field::Input {
                    name: "days",
                    label: lang.of("Days", "Дней"),
                    kind: "number",
                    value: typed_or("days", days.to_string()),
                    hint: lang.of("0: no trial", "0: нет"),
                },
                Field::Input {
                    name: "amount",
                    label: lang.of("Price", "Цена"),
                    kind: "text",
                    value: typed_or("amount", amount(price)),
                    hint: rubles,
                },
            ]
        }
        SettingKind::Stages => {
            let is_two = tariff.is_some_and(|tariff| tariff.two_stages);
            let is_on = |value: &str| typed_or("stages", if is_two { "two" } else { "one" }.to_owned()) == value;
            let choice = |value: &'static str, word: &str| Choice { value, word: word.to_owned(), is_on: is_on(value) };
            let choices = vec![
                choice("one", lang.of("Taken at once", "Списываются сразу")),
                choice("two", lang.of("Held, then taken", "Удерживаются, затем списываются")),
            ];
            vec![
                Field::Choice { name: "stages", label: lang.of("Money is", "Деньги"), choices },
                input(
                    "days",
                    lang.of("Taken after days", "Списать через дней"),
                    "number",
                    typed_or("days", "0".to_owned()),
                ),
            ]
        }
        SettingKind::Sale => {
            let now = if tariff.is_some_and(|tariff| tariff.is_active) { "yes" } else { "no" };
            let is_on = |value: &str| typed_or("sale", now.to_owned()) == value;
            let choice = |value: &'static str, word: &str| Choice { value, word: word.to_owned(), is_on: is_on(value) };
            let choices = vec![
                choice("yes", lang.of("On sale", "Продаётся")),
                choice("no", lang.of("Not on sale", "Не продаётся")),
            ];
            vec![Field::Choice { name: "sale", label: lang.of("Sale", "Продажа"), choices }]
        }
        SettingKind::Schedule => {
            let (_, schedules) = declines::all(conn).await?;
            let now = schedules.iter().find(|(group, _)| group.as_str() == subject);
            let now = now.map(|(_, schedule)| schedule.hours().iter().map(ToString::to_string).collect::<Vec<_>>());
            vec![Field::Input {
                name: "hours",
                label: lang.of("Hours after the first refusal", "Часы после первого отказа"),
                kind: "text",
                value: typed_or("hours", now.unwrap_or_default().join(", ")),
                hint: lang.of("29, 72; - for never", "29, 72; - никогда"),
            }]
        }
        SettingKind::Rule => {
            let rule = declines::ruling(conn, subject.parse().map_err(|_| Problem::NotFound)?).await?.rule;
            let on = |name, now: &str, value: &str| typed_or(name, now.to_owned()) == value;
            let groups = DeclineGroup::ALL.iter().map(|group| Choice {
                value: group.as_str(),
                word: words::group(*group, lang).to_owned(),
                is_on: on("group", rule.group.as_str(), group.as_str()),
            });
            let actions = CustomerAction::ALL.iter().map(|action| Choice {
                value: action.as_str(),
                word: match lang.text(&action.text()) {
                    text if text.is_empty() => lang.of("Nothing: it may pass", "Ничего: может пройти").to_owned(),
                    text => text,
                },
                is_on: on("action", rule.action.as_str(), action.as_str()),
            });
            vec![
                Field::Choice { name: "group", label: lang.of("Group", "Группа"), choices: groups.collect() },
                input(
                    "tries",
                    lang.of("Tries at most", "Повторов не более"),
                    "number",
                    typed_or("tries", rule.max_retries.to_string()),
                ),
                Field::Choice {
                    name: "action",
                    label: lang.of("The customer can", "Абонент может"),
                    choices: actions.collect(),
                },
                input("ru", lang.of("Told in Russian", "Текст по-русски"), "text", typed_or("ru", rule.message.ru)),
                input("en", lang.of("Told in English", "Текст по-английски"), "text", typed_or("en", rule.message.en)),
            ]
        }
        SettingKind::Limit => {
            let limits = refunds::limits(conn).await?;
            let now = limits.into_iter().find(|limit| limit.role == subject).ok_or(Problem::NotFound)?;
            let field = |name, label, now| Field::Input {
                name,
                label,
                kind: "text",
                value: typed_or(name, amount(now)),
                hint: rubles,
            };
            vec![
                field("alone", lang.of("Alone up to", "Самостоятельно до"), now.alone),
                field("approves", lang.of("As the second person up to", "Вторым лицом до"), now.approves),
            ]
        }
    })
}

/// What follows from a setting.
pub(crate) fn notes(setting: &Setting, notice: TimeDelta, shell: &Shell) -> Vec<String> {
    let lang = shell.lang();
    let day = |at: DateTime<Utc>| at.with_timezone(&shell.zone).format(lang.of("%-d %b %Y", "%d.%m.%Y")).to_string();
    let text = |en: &str, ru: &str| vec![lang.of(en, ru).to_owned()];
    match setting {
        Setting::Price(price) => {
            let (from, told) = (day(price.effective_from), day(price.effective_from - notice));
            vec![
                match lang.of("en", "ru") {
                    "en" => format!(
                        "Each subscriber pays it with the first bill that opens from {from} on. Bills that are open then keep their price."
                    ),
                    _ => format!(
                        "Абонент платит её по первому счёту, открытому с {from}. Уже открытые счета сохраняют цену."
                    ),
                },
                match lang.of("en", "ru") {
                    "en" => format!("Those who are charged by themselves are told of it from {told} on."),
                    _ => format!("Тем, кто продлевается автоматически, о ней сообщат с {told}."),
                },
            ]
        }
        Setting::NoPrice { .. } => text(
            "The price that is in force stays. Who was told of the other is not told again: tell them yourself.",
            "Остаётся действующая цена. Тем, кому о новой уже сообщили, повторно не сообщается: напишите им сами.",
        ),
        Setting::Trial { .. } => text(
            "It holds for trials that begin from now on; those that were begun stay as they are.",
            "Действует для пробных периодов, которые начнутся с этого момента; начатые не меняются.",
        ),
        Setting::Stages { .. } => {
            text("It reaches bills that open from now on.", "Действует для счетов, открытых с этого момента.")
        }
        Setting::Sale { .. } => text(
            "Who has the tariff keeps it and is renewed.",
            "У кого тариф уже есть, у тех он остаётся и продлевается.",
        ),
        Setting::Schedule { .. } | Setting::Rule(_) => text(
            "It holds from the next refusal on. Tries that are planned stay planned.",
            "Действует со следующего отказа. Уже запланированные повторы остаются.",
        ),
        Setting::Limit(_) => text(
            "It holds for refunds that are asked for from now on.",
            "Действует для возвратов, запрошенных с этого момента.",
        ),
    }
}

/// The times of a day's refusal that is refused each time.
pub(crate) fn tries(
    group: DeclineGroup,
    before: &Value,
    after: &[i32],
    shell: &Shell,
) -> Option<(Vec<When>, Vec<When>)> {
    let list = before.as_array()?.iter().filter_map(|it| i32::try_from(it.as_i64()?).ok());
    let before = Schedule::new(group, &list.collect::<Vec<_>>()).ok()?;
    let after = Schedule::new(group, after).ok()?;
    Some((simulated(before, shell), simulated(after, shell)))
}

/// Likewise, of a refusal with the code of a rule: as it is, and as the rule would have it.
pub(crate) async fn tries_of_rule(
    conn: &mut AsyncPgConnection,
    rule: &Rule,
    shell: &Shell,
) -> Result<(Vec<When>, Vec<When>), Problem> {
    let before = declines::ruling(conn, rule.code).await?.terms().schedule;
    let (_, schedules) = declines::all(conn).await?;
    let of_group = schedules.iter().find(|(group, _)| *group == rule.group);
    let schedule = of_group.map_or_else(|| Schedule::seeded(rule.group), |(_, schedule)| *schedule);
    let after = Ruling { rule: rule.clone(), schedule }.terms().schedule;
    Ok((simulated(before, shell), simulated(after, shell)))
}

/// By the code that the workers go by.
fn simulated(schedule: Schedule, shell: &Shell) -> Vec<When> {
    let (first, mut at, mut tries) = (shell.now, shell.now, Vec::new());
    for refusals in 1.. {
        let Some(next) = schedule.retry_at(first, refusals, None, at) else { return tries };
        tries.push(shell.when(&next));
        at = next;
    }
    tries
}

/// Why it cannot be set, for who typed it.
pub(crate) fn refused(error: SettingError, shell: &Shell) -> Result<String, Problem> {
    use billing::decline::{BadRule, BadSchedule};
    use declines::ChangeError;
    let lang = shell.lang();
    let text = match error {
        SettingError::Store(error)
        | SettingError::Price(SetPriceError::Store(error))
        | SettingError::Trial(SetTrialError::Store(error))
        | SettingError::Decline(ChangeError::Store(error)) => return Err(error.into()),
        SettingError::AlreadySo | SettingError::Decline(ChangeError::NoChange) => {
            lang.of("It is so already.", "Это уже так.")
        }
        SettingError::ChangedSince | SettingError::Decline(ChangeError::ChangedSince { .. }) => lang.of(
            "Something else was set since, or it was taken back already: see the list of changes.",
            "С тех пор настройку изменили или это уже отменено: смотрите список изменений.",
        ),
        SettingError::Price(SetPriceError::TooSoon { earliest, .. }) => {
            let day = earliest.with_timezone(&shell.zone).format(lang.of("%-d %b %Y, %H:%M", "%d.%m.%Y %H:%M"));
            return Ok(match lang.of("en", "ru") {
                "en" => format!("Subscribers must be told in time: not before {day}."),
                _ => format!("Абонентов нужно предупредить заранее: не раньше {day}."),
            });
        }
        SettingError::Price(SetPriceError::NotTheLast(_)) => lang.of(
            "A later price is set already: take that away first.",
            "Уже задана более поздняя цена: сначала уберите её.",
        ),
        SettingError::Price(SetPriceError::Amount(_))
        | SettingError::Trial(SetTrialError::Amount { .. })
        | SettingError::Limit => lang.of("The amount is out of range.", "Сумма вне допустимых границ."),
        SettingError::Trial(SetTrialError::Days { .. }) => {
            lang.of("A trial is 1 to 366 days long.", "Пробный период: от 1 до 366 дней.")
        }
        SettingError::HoldDays => lang.of("Money is held for 0 to 6 days.", "Деньги удерживаются от 0 до 6 дней."),
        SettingError::NotToCome => {
            lang.of("This price is in force, or there is none.", "Эта цена уже действует, или её нет.")
        }
        SettingError::Decline(ChangeError::Schedule(BadSchedule::TooMany)) => {
            lang.of("At most 8 tries.", "Не более 8 повторов.")
        }
        SettingError::Decline(ChangeError::Schedule(BadSchedule::NotInOrder)) => lang.of(
            "Each try must be later than the one before, and the first at least an hour after the refusal.",
            "Каждый повтор позже предыдущего, первый — не раньше чем через час после отказа.",
        ),
        SettingError::Decline(ChangeError::Schedule(BadSchedule::AfterTheGrace(_))) => lang.of(
            "A try must come before the 168 hours of grace are over.",
            "Повтор должен быть до конца льготных 168 часов.",
        ),
        SettingError::Decline(ChangeError::Schedule(BadSchedule::TooOften(_))) => lang.of(
            "A card must not be charged more than twice in 24 hours.",
            "Карту нельзя списывать чаще двух раз за 24 часа.",
        ),
        SettingError::Decline(
            ChangeError::Schedule(BadSchedule::CardIsBarred(_)) | ChangeError::Rule(BadRule::CardIsBarred(_)),
        ) => lang.of(
            "After a refusal of this group the card is not charged again: no tries.",
            "После отказа этой группы карта больше не списывается: повторов быть не может.",
        ),
        SettingError::Decline(ChangeError::Rule(BadRule::Message(_))) => {
            lang.of("Both messages need 1 to 300 characters.", "Оба текста должны быть от 1 до 300 символов.")
        }
        SettingError::Decline(ChangeError::Rule(BadRule::Retries)) => {
            lang.of("From 0 to 8 tries.", "Попыток может быть от 0 до 8.")
        }
        _ => lang.of("This cannot be set so.", "Так задать нельзя."),
    };
    Ok(text.to_owned())
}
