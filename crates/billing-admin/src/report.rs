//! Reports, from sums to tables. Pure.

mod books;
mod gateway;

use std::collections::BTreeMap;

use billing::store::reports::{Change, Figure, Open, Span, Sum};
use billing::{Currency, Kopecks, TariffId};
use chrono::{DateTime, NaiveDate, Utc};

use crate::chart::{Bars, Line};
use crate::lang::Lang;
use crate::show;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Revenue,
    Deferred,
    Refunds,
    Subscribers,
    Churn,
    Approval,
    Recovery,
    Cohorts,
    Gateway,
    Open,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Revenue,
        Self::Deferred,
        Self::Refunds,
        Self::Subscribers,
        Self::Churn,
        Self::Approval,
        Self::Recovery,
        Self::Cohorts,
        Self::Gateway,
        Self::Open,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Revenue => "revenue",
            Self::Deferred => "deferred",
            Self::Refunds => "refunds",
            Self::Churn => "churn",
            Self::Open => "open",
            Self::Cohorts => "cohorts",
            Self::Gateway => "gateway",
            Self::Subscribers => "subscribers",
            Self::Approval => "approval",
            Self::Recovery => "recovery",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) const fn word(self, lang: Lang) -> &'static str {
        match self {
            Self::Revenue => lang.of("Revenue", "Выручка"),
            Self::Deferred => lang.of("Deferred revenue", "Отложенная выручка"),
            Self::Refunds => lang.of("Refunds", "Возвраты"),
            Self::Churn => lang.of("Churn", "Отток"),
            Self::Cohorts => lang.of("Cohorts", "Когорты"),
            Self::Gateway => lang.of("Gateway", "Шлюз"),
            Self::Open => lang.of("Not settled", "Не закрыто"),
            Self::Subscribers => lang.of("Subscribers", "Подписчики"),
            Self::Approval => lang.of("Approval", "Одобрение"),
            Self::Recovery => lang.of("Recovery", "Возвращённые продления"),
        }
    }

    pub(crate) const fn figures(self) -> &'static [Figure] {
        match self {
            Self::Revenue => &[Figure::Taken, Figure::GivenBack, Figure::Earned, Figure::Deferred, Figure::Vat],
            Self::Deferred => &[Figure::Deferred],
            Self::Refunds => &[Figure::GivenBack, Figure::Taken],
            Self::Churn => &[Figure::Gained, Figure::Paying],
            // Of the rows as they are now.
            Self::Open => &[],
            Self::Cohorts => &[Figure::Cohort],
            Self::Gateway => &[Figure::Call],
            Self::Subscribers => &[Figure::Paying, Figure::Trial, Figure::Gained],
            Self::Approval => &[Figure::Attempt],
            Self::Recovery => &[Figure::Refused, Figure::Recovered],
        }
    }

    /// What the numbers mean, to the letter.
    pub(crate) const fn defines(self, lang: Lang) -> &'static str {
        match self {
            Self::Revenue => lang.of(
                "Taken and given back: what the gateway took and returned, VAT included. Earned: revenue of the days, without VAT. Deferred: paid for days to come, without VAT, at the end of the last day. All from the ledger.",
                "Получено и возвращено: что взял и вернул шлюз, с НДС. Заработано: выручка дней, без НДС. Отложено: оплачено за будущие дни, без НДС, на конец последнего дня. Всё — из бухгалтерской книги.",
            ),
            Self::Deferred => lang.of(
                "Paid for days that are still to come, without VAT, at the end of each day: the balance of the ledger's account deferred_revenue.",
                "Оплачено за будущие дни, без НДС, на конец каждого дня: остаток счёта deferred_revenue бухгалтерской книги.",
            ),
            Self::Refunds => lang.of(
                "What the gateway returned on a day, VAT included, and what customers' banks took back, from the ledger; beside what was taken on the same days.",
                "Что шлюз вернул за день, с НДС, и что забрали банки абонентов, — из бухгалтерской книги; рядом с полученным в те же дни.",
            ),
            Self::Churn => lang.of(
                "Left: had cancelled (voluntary). Lapsed: could not be charged (involuntary); who pays after a refusal returns and is counted so under Subscribers. Per cent of those who paid on the first day.",
                "Ушли: отменили сами (добровольный отток). Отпали: списание не прошло (вынужденный); заплатившие после отказа возвращаются и видны в «Подписчиках». Проценты — от плативших в первый день.",
            ),
            Self::Cohorts => lang.of(
                "Subscribers by the month in which they first paid, trials apart, at the last day of each month of the chosen days. Per cent of those who paid at the end of that first month.",
                "Абоненты по месяцу первой оплаты (без пробных), на последний день каждого месяца из выбранных дней. Проценты — от плативших на конец того первого месяца.",
            ),
            Self::Gateway => lang.of(
                "Requests to the gateway by the day they began, with how they ended and how long they took. Without a usable response: not processed, not understood, in doubt, or without an end.",
                "Запросы к шлюзу по дню начала: чем закончились и сколько длились. Без внятного ответа: не обработано, не понято, исход неизвестен или завершение не записано.",
            ),
            Self::Open => lang.of(
                "As it is at this moment, whatever days are chosen. In doubt: nobody knows yet whether the money was taken. A receipt is missing an hour after its money moved.",
                "Состояние на этот момент, какие бы дни ни были выбраны. Неизвестный исход: ещё не ясно, взяты ли деньги. Чек считается недостающим через час после движения денег.",
            ),
            Self::Subscribers => lang.of(
                "Paying: a paid period covers the day; a trial does not count. MRR: what paying subscribers are worth in a month, without VAT; a year is worth a twelfth. Left: had cancelled. Lapsed: could not be charged; who pays after a refusal returns.",
                "Платят: день входит в оплаченный период; пробный не считается. MRR: чего стоят платящие за месяц, без НДС; год — двенадцатая часть. Ушли: отменили сами. Отпали: списание не прошло; заплатившие после отказа возвращаются.",
            ),
            Self::Approval => lang.of(
                "Attempts by the day they ended. Approved: money was taken. Declined attempts stand by the group of their reason.",
                "Попытки по дню окончания. Одобрено: деньги взяты. Отклонённые — по группе причины.",
            ),
            Self::Recovery => lang.of(
                "Refused: renewals whose first attempt was declined in these days. Recovered: renewals paid in these days after a refusal, by the code of the first one.",
                "Отказано: продления, первая попытка которых отклонена в эти дни. Возвращено: продления, оплаченные в эти дни после отказа, по коду первого отказа.",
            ),
        }
    }
}

/// One number that stands above.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// What it was in as many days before; empty if that is not known.
    pub(crate) before: String,
}

/// Rows under heads; all but the first column are numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) heads: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

pub(crate) struct Report {
    pub(crate) headlines: Vec<Headline>,
    pub(crate) lines: Vec<Line>,
    /// Whether the lines are amounts.
    pub(crate) is_money: bool,
    /// What is drawn in the place of lines.
    pub(crate) bars: Option<Bars>,
    pub(crate) tables: Vec<Table>,
}

/// What a report is made of.
pub(crate) struct Numbers {
    pub(crate) span: Span,
    pub(crate) currency: Currency,
    pub(crate) series: Vec<Sum>,
    pub(crate) totals: Vec<Sum>,
    pub(crate) before: Vec<Sum>,
    /// Deferred at the end of the days, and of those before.
    pub(crate) deferred: (Kopecks, Kopecks),
    pub(crate) tariffs: BTreeMap<TariffId, String>,
    /// Deferred at the end of the days, tariff by tariff.
    pub(crate) by_tariff: Vec<Sum>,
    pub(crate) open: Vec<Open>,
    pub(crate) cohorts: Vec<Sum>,
    pub(crate) now: DateTime<Utc>,
    /// The days before that one are rolled up.
    pub(crate) known_until: NaiveDate,
}

/// A number of things and an amount.
type Pair = (i64, i64);

impl Numbers {
    fn of(sums: &[Sum], currency: Currency, fits: impl Fn(&Sum) -> bool) -> Pair {
        let fitting = sums.iter().filter(|sum| sum.currency == currency && fits(sum));
        fitting.fold((0, 0), |(count, amount), sum| (count + sum.count, amount + sum.amount.get()))
    }

    fn total(&self, fits: impl Fn(&Sum) -> bool) -> Pair {
        Self::of(&self.totals, self.currency, fits)
    }

    fn earlier(&self, fits: impl Fn(&Sum) -> bool) -> Pair {
        Self::of(&self.before, self.currency, fits)
    }

    fn on(&self, day: NaiveDate, fits: impl Fn(&Sum) -> bool) -> Pair {
        Self::of(&self.series, self.currency, |sum| sum.day == Some(day) && fits(sum))
    }

    fn days(&self) -> impl DoubleEndedIterator<Item = NaiveDate> + use<> {
        let days: Vec<NaiveDate> = self.span.from.iter_days().take_while(|day| *day <= self.span.to).collect();
        days.into_iter()
    }

    fn is_known(&self, day: NaiveDate) -> bool {
        day <= self.known_until
    }

    fn line(&self, name: &str, value: impl Fn(NaiveDate) -> f64) -> Line {
        let values = self.days().map(|day| (day, self.is_known(day).then(|| value(day)))).collect();
        Line { name: name.to_owned(), values }
    }

    fn money(&self, amount: i64, lang: Lang) -> String {
        show::money(Kopecks::new(amount), self.currency, lang)
    }

    fn tariff(&self, id: Option<TariffId>) -> String {
        id.map_or_else(|| "—".to_owned(), |id| self.tariffs.get(&id).cloned().unwrap_or_else(|| id.to_string()))
    }

    fn tariff_ids(&self) -> Vec<Option<TariffId>> {
        let mut ids: Vec<_> = self.totals.iter().map(|sum| sum.tariff_id).collect();
        ids.sort_unstable_by_key(|id| self.tariff(*id));
        ids.dedup();
        ids
    }

    /// Labels of a figure, the most frequent first.
    fn labels(&self, figure: Figure, of: impl Fn(&str) -> &str) -> Vec<(String, Pair)> {
        let mut labels: BTreeMap<String, Pair> = BTreeMap::new();
        for sum in self.totals.iter().filter(|sum| sum.figure == figure && sum.currency == self.currency) {
            let pair = labels.entry(of(&sum.label).to_owned()).or_default();
            *pair = (pair.0 + sum.count, pair.1 + sum.amount.get());
        }
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort_by_key(|(_, (count, _))| -count);
        labels
    }
}

pub(crate) fn report(kind: Kind, numbers: &Numbers, lang: Lang) -> Report {
    match kind {
        Kind::Revenue => revenue(numbers, lang),
        Kind::Deferred => books::deferred(numbers, lang),
        Kind::Refunds => books::refunds(numbers, lang),
        Kind::Churn => books::churn(numbers, lang),
        Kind::Open => books::open(numbers, lang),
        Kind::Cohorts => gateway::cohorts(numbers, lang),
        Kind::Gateway => gateway::gateway(numbers, lang),
        Kind::Subscribers => subscribers(numbers, lang),
        Kind::Approval => approval(numbers, lang),
        Kind::Recovery => recovery(numbers, lang),
    }
}

fn is(figure: Figure) -> impl Fn(&Sum) -> bool {
    move |sum| sum.figure == figure
}

fn date(day: NaiveDate, lang: Lang) -> String {
    day.format(lang.of("%Y-%m-%d", "%d.%m.%Y")).to_string()
}

fn revenue(n: &Numbers, lang: Lang) -> Report {
    let names = [
        (Figure::Taken, lang.of("Taken", "Получено")),
        (Figure::GivenBack, lang.of("Given back", "Возвращено")),
        (Figure::Earned, lang.of("Earned", "Заработано")),
        (Figure::Vat, lang.of("VAT", "НДС")),
    ];
    let mut headlines: Vec<Headline> = names
        .iter()
        .map(|(figure, name)| Headline {
            name,
            value: n.money(n.total(is(*figure)).1, lang),
            before: n.money(n.earlier(is(*figure)).1, lang),
        })
        .collect();
    let deferred = lang.of("Deferred", "Отложено");
    let (now, before) = (n.money(n.deferred.0.get(), lang), n.money(n.deferred.1.get(), lang));
    headlines.push(Headline { name: deferred, value: now, before });
    let heads = |first| [first].into_iter().chain(names.iter().map(|(_, name)| *name)).collect();
    let row = |first: String, pair: &dyn Fn(Figure) -> Pair| {
        let amounts = names.iter().map(|(figure, _)| n.money(pair(*figure).1, lang));
        [first].into_iter().chain(amounts).collect()
    };
    let by_tariff = n.tariff_ids().into_iter();
    let by_tariff = by_tariff
        .map(|id| row(n.tariff(id), &|figure| n.total(|sum| sum.figure == figure && sum.tariff_id == id)))
        .collect();
    let known = n.days().rev().filter(|day| n.is_known(*day));
    let by_day = known.map(|day| row(date(day, lang), &|figure| n.on(day, is(figure)))).collect();
    Report {
        headlines,
        lines: names[..3].iter().map(|(figure, name)| n.line(name, |day| roubles(n.on(day, is(*figure)).1))).collect(),
        is_money: true,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("By tariff", "По тарифам"),
                heads: heads(lang.of("Tariff", "Тариф")),
                rows: by_tariff,
            },
            Table { title: lang.of("By day", "По дням"), heads: heads(lang.of("Day", "День")), rows: by_day },
        ],
    }
}

fn subscribers(n: &Numbers, lang: Lang) -> Report {
    let changes = [
        (Change::New, lang.of("New", "Новые")),
        (Change::Returned, lang.of("Returned", "Вернулись")),
        (Change::Expanded, lang.of("Expanded", "Перешли дороже")),
        (Change::Contracted, lang.of("Contracted", "Перешли дешевле")),
        (Change::Left, lang.of("Left", "Ушли")),
        (Change::Lapsed, lang.of("Lapsed", "Отпали")),
    ];
    let last = n.span.to.min(n.known_until);
    let first = n.span.from;
    let at = |day: NaiveDate, figure| n.on(day, is(figure));
    let gained = |change: Change| move |sum: &Sum| sum.figure == Figure::Gained && sum.label == change.as_str();
    let (paying, worth) = at(last, Figure::Paying);
    let (paying_first, worth_first) = at(first, Figure::Paying);
    let headlines = vec![
        Headline {
            name: lang.of("Paying", "Платят"), value: paying.to_string(), before: paying_first.to_string()
        },
        Headline { name: "MRR", value: n.money(worth, lang), before: n.money(worth_first, lang) },
        Headline {
            name: lang.of("On trial", "Пробуют"),
            value: at(last, Figure::Trial).0.to_string(),
            before: at(first, Figure::Trial).0.to_string(),
        },
        Headline {
            name: lang.of("Left and lapsed, % of the paying", "Ушли и отпали, % платящих"),
            value: percent(n.total(gained(Change::Left)).0 + n.total(gained(Change::Lapsed)).0, paying_first),
            before: String::new(),
        },
    ];
    let movements = changes
        .iter()
        .map(|(change, name)| {
            let (count, amount) = n.total(gained(*change));
            vec![(*name).to_owned(), count.to_string(), n.money(amount, lang)]
        })
        .collect();
    let known = n.days().rev().filter(|day| n.is_known(*day));
    let by_day = known
        .map(|day| {
            let (paying, worth) = at(day, Figure::Paying);
            let trial = at(day, Figure::Trial).0;
            let mut row = vec![date(day, lang), paying.to_string(), n.money(worth, lang), trial.to_string()];
            row.extend(changes.iter().map(|(change, _)| n.on(day, gained(*change)).0.to_string()));
            row
        })
        .collect();
    let mut heads = vec![lang.of("Day", "День"), lang.of("Paying", "Платят"), "MRR", lang.of("On trial", "Пробуют")];
    heads.extend(changes.iter().map(|(_, name)| *name));
    Report {
        headlines,
        lines: vec![
            n.line(lang.of("Paying", "Платят"), |day| whole(at(day, Figure::Paying).0)),
            n.line(lang.of("On trial", "Пробуют"), |day| whole(at(day, Figure::Trial).0)),
        ],
        is_money: false,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("What changed", "Что изменилось"),
                heads: vec![lang.of("Change", "Изменение"), lang.of("Subscribers", "Подписчики"), "MRR"],
                rows: movements,
            },
            Table { title: lang.of("By day", "По дням"), heads, rows: by_day },
        ],
    }
}

fn is_approved(label: &str) -> bool {
    matches!(label.rsplit(':').next(), Some("succeeded" | "succeeded_duplicate"))
}

fn approval(n: &Numbers, lang: Lang) -> Report {
    let approved = |sum: &Sum| sum.figure == Figure::Attempt && is_approved(&sum.label);
    let by = |instrument: &'static str| move |sum: &Sum| sum.label.starts_with(instrument);
    let share = |sums: &[Sum], instrument: &'static str| {
        let of = by(instrument);
        let all = Numbers::of(sums, n.currency, |sum| of(sum)).0;
        percent(Numbers::of(sums, n.currency, |sum| approved(sum) && of(sum)).0, all)
    };
    let kinds = [
        ("", lang.of("All approved", "Одобрено всего")),
        ("cryptogram", lang.of("By the customer", "С участием абонента")),
        ("token", lang.of("Renewals and kept cards", "Продления и сохранённые карты")),
    ];
    let headlines = kinds
        .iter()
        .map(|(kind, name)| Headline { name, value: share(&n.totals, kind), before: share(&n.before, kind) })
        .collect();
    let all = n.total(|_| true).0;
    let rows = n
        .labels(Figure::Attempt, |label| label)
        .into_iter()
        .map(|(label, (count, amount))| vec![label, count.to_string(), percent(count, all), n.money(amount, lang)])
        .collect();
    let rate = |kind: &'static str| {
        move |day: NaiveDate| {
            let of = by(kind);
            let (ok, of_all) = (n.on(day, |sum| approved(sum) && of(sum)).0, n.on(day, |sum| of(sum)).0);
            if of_all == 0 { 0.0 } else { whole(ok) * 100.0 / whole(of_all) }
        }
    };
    Report {
        headlines,
        lines: kinds[1..].iter().map(|(kind, name)| n.line(name, rate(kind))).collect(),
        is_money: false,
        bars: None,
        tables: vec![Table {
            title: lang.of("By end", "По исходам"),
            heads: vec![
                lang.of("Paid with, and end", "Чем платили и исход"),
                lang.of("Attempts", "Попытки"),
                "%",
                lang.of("Amount", "Сумма"),
            ],
            rows,
        }],
    }
}

fn recovery(n: &Numbers, lang: Lang) -> Report {
    let refused = n.total(is(Figure::Refused));
    let recovered = n.total(is(Figure::Recovered));
    let (refused_before, recovered_before) = (n.earlier(is(Figure::Refused)), n.earlier(is(Figure::Recovered)));
    let headlines = vec![
        Headline {
            name: lang.of("Refused", "Отказано"),
            value: refused.0.to_string(),
            before: refused_before.0.to_string(),
        },
        Headline {
            name: lang.of("Recovered", "Возвращено"),
            value: recovered.0.to_string(),
            before: recovered_before.0.to_string(),
        },
        Headline {
            name: lang.of("Recovered, % of the refused", "Возвращено, % отказов"),
            value: percent(recovered.0, refused.0),
            before: percent(recovered_before.0, refused_before.0),
        },
        Headline {
            name: lang.of("Money recovered", "Возвращено денег"),
            value: n.money(recovered.1, lang),
            before: n.money(recovered_before.1, lang),
        },
    ];
    let by_code: BTreeMap<String, Pair> = n.labels(Figure::Recovered, code_of).into_iter().collect();
    let rows = n
        .labels(Figure::Refused, |label| label)
        .into_iter()
        .map(|(label, (count, _))| {
            let (back, amount) = by_code.get(&label).copied().unwrap_or_default();
            vec![label, count.to_string(), back.to_string(), percent(back, count), n.money(amount, lang)]
        })
        .collect();
    let tries = n
        .labels(Figure::Recovered, |label| label.rsplit(':').next().unwrap_or_default())
        .into_iter()
        .map(|(tries, (count, amount))| vec![tries, count.to_string(), n.money(amount, lang)])
        .collect();
    Report {
        headlines,
        lines: vec![
            n.line(lang.of("Refused", "Отказано"), |day| whole(n.on(day, is(Figure::Refused)).0)),
            n.line(lang.of("Recovered", "Возвращено"), |day| whole(n.on(day, is(Figure::Recovered)).0)),
        ],
        is_money: false,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("By reason code", "По кодам причины"),
                heads: vec![
                    lang.of("Code", "Код"),
                    lang.of("Refused", "Отказано"),
                    lang.of("Recovered", "Возвращено"),
                    "%",
                    lang.of("Amount", "Сумма"),
                ],
                rows,
            },
            Table {
                title: lang.of("By the number of refusals before", "По числу отказов до оплаты"),
                heads: vec![
                    lang.of("Refusals", "Отказы"),
                    lang.of("Recovered", "Возвращено"),
                    lang.of("Amount", "Сумма"),
                ],
                rows: tries,
            },
        ],
    }
}

/// Of `code:refusals` the code.
fn code_of(label: &str) -> &str {
    label.split(':').next().unwrap_or_default()
}

/// `62.5 %`; a dash of nothing.
fn percent(part: i64, of: i64) -> String {
    if of == 0 {
        return "—".to_owned();
    }
    let tenths = (i128::from(part) * 1_000 + i128::from(of) / 2) / i128::from(of);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[expect(clippy::cast_precision_loss, reason = "a drawing")]
fn whole(count: i64) -> f64 {
    count as f64
}

fn roubles(amount: i64) -> f64 {
    whole(amount) / 100.0
}
