//! Deferred revenue, money that went back, who leaves and why, and what is not settled yet.

use billing::Kopecks;
use billing::store::reports::{Change, Figure, Open, OpenKind, Sum};
use chrono::NaiveDate;

use super::{Headline, Numbers, Report, Table, date, is, percent, roubles, whole};
use crate::chart::Bars;
use crate::lang::Lang;
use crate::show;
use crate::words;

/// What was paid for days behind each day.
pub(super) fn deferred(n: &Numbers, lang: Lang) -> Report {
    let before = n.deferred.1.get();
    let mut balance = before;
    let balances: Vec<(NaiveDate, i64, i64)> = n
        .days()
        .filter(|day| n.is_known(*day))
        .map(|day| {
            let moved = n.on(day, is(Figure::Deferred)).1;
            balance += moved;
            (day, moved, balance)
        })
        .collect();
    let on = |day: NaiveDate| balances.iter().find(|(of, ..)| *of == day).map_or(0, |(.., balance)| *balance);
    let headline = |name, value: i64, before: Option<i64>| Headline {
        name,
        value: n.money(value, lang),
        before: before.map_or_else(String::new, |before| n.money(before, lang)),
    };
    let moved: i64 = balances.iter().map(|(_, moved, _)| moved).sum();
    let by_tariff = n.by_tariff.iter().filter(|sum| sum.currency == n.currency && sum.amount != Kopecks::ZERO);
    let by_tariff = by_tariff.map(|sum| vec![n.tariff(sum.tariff_id), n.money(sum.amount.get(), lang)]).collect();
    let by_day = balances.iter().rev();
    let by_day = by_day
        .map(|(day, moved, balance)| vec![date(*day, lang), n.money(*moved, lang), n.money(*balance, lang)])
        .collect();
    let (at_the_end, moved_name) = (lang.of("At the end of the day", "На конец дня"), lang.of("Change", "Изменение"));
    Report {
        headlines: vec![
            headline(lang.of("Deferred at the end", "Отложено на конец"), n.deferred.0.get(), Some(before)),
            headline(moved_name, moved, None),
        ],
        lines: vec![n.line(lang.of("Deferred", "Отложено"), |day| roubles(on(day)))],
        is_money: true,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("By tariff, at the end of the last day", "По тарифам, на конец последнего дня"),
                heads: vec![lang.of("Tariff", "Тариф"), lang.of("Deferred", "Отложено")],
                rows: by_tariff,
            },
            Table {
                title: lang.of("By day", "По дням"),
                heads: vec![lang.of("Day", "День"), moved_name, at_the_end],
                rows: by_day,
            },
        ],
    }
}

/// Money that went back.
pub(super) fn refunds(n: &Numbers, lang: Lang) -> Report {
    let back = is(Figure::GivenBack);
    let by = |label: &'static str| move |sum: &Sum| sum.figure == Figure::GivenBack && sum.label == label;
    let ways = [
        ("refund", lang.of("Given back", "Возвращено нами")),
        ("chargeback", lang.of("Taken back by banks", "Забрано банками")),
    ];
    let (all, before) = (n.total(&back), n.earlier(&back));
    let (taken, taken_before) = (n.total(is(Figure::Taken)).1, n.earlier(is(Figure::Taken)).1);
    let mut headlines = vec![
        Headline {
            name: lang.of("All that went back", "Всего возвращено"),
            value: n.money(all.1, lang),
            before: n.money(before.1, lang),
        },
        Headline {
            name: lang.of("Of what was taken", "От полученного"),
            value: percent(all.1, taken),
            before: percent(before.1, taken_before),
        },
    ];
    headlines.extend(ways.iter().map(|(label, name)| Headline {
        name,
        value: n.money(n.total(by(label)).1, lang),
        before: n.money(n.earlier(by(label)).1, lang),
    }));
    let row = |first: String, (count, amount): (i64, i64), taken: i64| {
        vec![first, count.to_string(), n.money(amount, lang), percent(amount, taken)]
    };
    let by_tariff = n.tariff_ids().into_iter().map(|id| {
        let of = |figure| n.total(|sum: &Sum| sum.figure == figure && sum.tariff_id == id);
        row(n.tariff(id), of(Figure::GivenBack), of(Figure::Taken).1)
    });
    let known = n.days().rev().filter(|day| n.is_known(*day));
    let by_day = known.map(|day| row(date(day, lang), n.on(day, &back), n.on(day, is(Figure::Taken)).1));
    let heads = |first| {
        vec![first, lang.of("Times", "Раз"), lang.of("Amount", "Сумма"), lang.of("Of what was taken", "От полученного")]
    };
    Report {
        headlines,
        lines: vec![n.line(lang.of("Went back", "Возвращено"), |day| roubles(n.on(day, &back).1))],
        is_money: true,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("By tariff", "По тарифам"),
                heads: heads(lang.of("Tariff", "Тариф")),
                rows: by_tariff.collect(),
            },
            Table {
                title: lang.of("By day", "По дням"), heads: heads(lang.of("Day", "День")), rows: by_day.collect()
            },
        ],
    }
}

/// Who pays no more: as they wished, or because nothing could be charged.
pub(super) fn churn(n: &Numbers, lang: Lang) -> Report {
    let of = |change: Change| move |sum: &Sum| sum.figure == Figure::Gained && sum.label == change.as_str();
    let ways = [(Change::Left, lang.of("Left", "Ушли")), (Change::Lapsed, lang.of("Lapsed", "Отпали"))];
    let paying = n.on(n.span.from, is(Figure::Paying)).0;
    let mut headlines: Vec<Headline> = Vec::new();
    for (change, name) in ways {
        let (count, before) = (n.total(of(change)).0, n.earlier(of(change)).0);
        headlines.push(Headline { name, value: count.to_string(), before: before.to_string() });
    }
    let shares = [
        lang.of("Left, % of the paying", "Ушли, % платящих"),
        lang.of("Lapsed, % of the paying", "Отпали, % платящих"),
    ];
    for ((change, _), name) in ways.into_iter().zip(shares) {
        headlines.push(Headline { name, value: percent(n.total(of(change)).0, paying), before: String::new() });
    }
    let row = |first: String, pair: &dyn Fn(Change) -> (i64, i64)| {
        let both = ways.map(|(change, _)| pair(change));
        let lost = both[0].1 + both[1].1;
        vec![first, both[0].0.to_string(), both[1].0.to_string(), n.money(lost, lang)]
    };
    let by_tariff = n
        .tariff_ids()
        .into_iter()
        .map(|id| row(n.tariff(id), &|change| n.total(|sum: &Sum| of(change)(sum) && sum.tariff_id == id)));
    let known = n.days().rev().filter(|day| n.is_known(*day));
    let by_day = known.map(|day| row(date(day, lang), &|change| n.on(day, of(change))));
    let heads = |first| vec![first, ways[0].1, ways[1].1, "MRR"];
    Report {
        headlines,
        lines: ways.iter().map(|(change, name)| n.line(name, |day| whole(n.on(day, of(*change)).0))).collect(),
        is_money: false,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("By tariff", "По тарифам"),
                heads: heads(lang.of("Tariff", "Тариф")),
                rows: by_tariff.collect(),
            },
            Table {
                title: lang.of("By day", "По дням"), heads: heads(lang.of("Day", "День")), rows: by_day.collect()
            },
        ],
    }
}

/// What is not settled now, and how old it is.
pub(super) fn open(n: &Numbers, lang: Lang) -> Report {
    let kinds = [
        (OpenKind::Payment, lang.of("Payments in doubt", "Платежи с неизвестным исходом")),
        (OpenKind::Refund, lang.of("Refunds under way", "Возвраты в пути")),
        (OpenKind::Difference, lang.of("Differences to decide about", "Нерешённые расхождения")),
        (OpenKind::Receipt, lang.of("Receipts missing", "Недостающие чеки")),
    ];
    let of = |kind: OpenKind| n.open.iter().filter(move |open| open.what == kind);
    let counted = |kind: OpenKind, age: i32| of(kind).filter(|open| open.age == age).map(|open| open.count).sum();
    let headline = |(kind, name): &(OpenKind, &'static str)| {
        let (count, oldest) = (of(*kind).map(|open| open.count).sum::<i64>(), of(*kind).map(|open| open.oldest).min());
        let since = oldest.map(|at| show::distance(at, n.now, lang)).unwrap_or_default();
        let value = if since.is_empty() { count.to_string() } else { format!("{count} ({since})") };
        Headline { name, value, before: String::new() }
    };
    let table = |(kind, title): &(OpenKind, &'static str)| Table {
        title,
        heads: vec![
            lang.of("What", "Что"),
            lang.of("Age", "Возраст"),
            lang.of("How many", "Сколько"),
            lang.of("Amount", "Сумма"),
            lang.of("The oldest", "Самое старое"),
        ],
        rows: of(*kind).map(|open| open_row(open, n, lang)).collect(),
    };
    Report {
        headlines: kinds.iter().map(headline).collect(),
        lines: Vec::new(),
        is_money: false,
        bars: Some(Bars {
            groups: kinds.iter().map(|(_, name)| *name).collect(),
            bars: (0..=3)
                .map(|age| (age_word(age, lang), kinds.iter().map(|(kind, _)| counted(*kind, age)).collect()))
                .collect(),
        }),
        tables: kinds.iter().map(table).collect(),
    }
}

const fn age_word(age: i32, lang: Lang) -> &'static str {
    match age {
        0 => lang.of("under an hour", "до часа"),
        1 => lang.of("under a day", "до суток"),
        2 => lang.of("under a week", "до недели"),
        _ => lang.of("a week or more", "неделя и больше"),
    }
}

fn open_row(open: &Open, n: &Numbers, lang: Lang) -> Vec<String> {
    let label = match open.what {
        OpenKind::Payment => open.label.parse().map(|state| words::payment(state, lang).word.to_owned()),
        OpenKind::Refund => open.label.parse().map(|state| words::refund(state, lang).word.to_owned()),
        OpenKind::Difference => open.label.parse().map(|kind| words::difference(kind, lang).to_owned()),
        OpenKind::Receipt => Ok(match open.label.as_str() {
            "income" => lang.of("Income", "Приход").to_owned(),
            _ => lang.of("Return of income", "Возврат прихода").to_owned(),
        }),
    };
    vec![
        label.unwrap_or_else(|_| open.label.clone()),
        age_word(open.age, lang).to_owned(),
        open.count.to_string(),
        show::money(open.amount, open.currency, lang),
        show::distance(open.oldest, n.now, lang),
    ]
}
