//! The gateway as we see it, and how long subscribers stay.

use std::collections::BTreeMap;

use billing::store::reports::{Figure, Sum};
use chrono::{Datelike as _, NaiveDate};

use super::{Headline, Numbers, Report, Table, date, is, percent, whole};
use crate::chart::Line;
use crate::lang::Lang;

/// What becomes of a call besides an answer: nobody knows, or it has to be made again.
fn went_wrong(label: &str) -> bool {
    !matches!(label.split(':').next(), Some("ok" | "declined"))
}

/// The most milliseconds that a call of this label took; those without an end took longer than any.
fn most(label: &str) -> u64 {
    label.split(':').nth(1).and_then(|ms| ms.parse().ok()).unwrap_or(u64::MAX)
}

/// Requests to it, how they ended, and how long they took.
pub(super) fn gateway(n: &Numbers, lang: Lang) -> Report {
    let (calls, took) = n.total(is(Figure::Call));
    let (calls_before, took_before) = n.earlier(is(Figure::Call));
    let wrong = |sum: &Sum| sum.figure == Figure::Call && went_wrong(&sum.label);
    let headlines = vec![
        Headline {
            name: lang.of("Requests", "Запросы"), value: calls.to_string(), before: calls_before.to_string()
        },
        Headline {
            name: lang.of("Without a usable response", "Без внятного ответа"),
            value: percent(n.total(wrong).0, calls),
            before: percent(n.earlier(wrong).0, calls_before),
        },
        Headline {
            name: lang.of("On average, ms", "В среднем, мс"),
            value: mean(took, calls),
            before: mean(took_before, calls_before),
        },
        Headline {
            name: lang.of("95 of 100 within, ms", "95 из 100 за, мс"),
            value: within(&n.totals, 95),
            before: within(&n.before, 95),
        },
    ];
    let by_end = n.labels(Figure::Call, |label| label.split(':').next().unwrap_or_default()).into_iter();
    let by_end = by_end.map(|(label, (count, ms))| {
        vec![ending(&label, lang), count.to_string(), percent(count, calls), mean(ms, count)]
    });
    let mut by_time: BTreeMap<u64, i64> = BTreeMap::new();
    for sum in n.totals.iter().filter(|sum| sum.figure == Figure::Call) {
        *by_time.entry(most(&sum.label)).or_default() += sum.count;
    }
    let mut reached = 0;
    let by_time = by_time.into_iter().map(|(ms, count)| {
        reached += count;
        let within = if ms == u64::MAX {
            lang.of("longer, or never", "дольше или никогда").to_owned()
        } else {
            ms.to_string()
        };
        vec![within, count.to_string(), percent(reached, calls)]
    });
    let by_time = by_time.collect();
    let known = n.days().rev().filter(|day| n.is_known(*day));
    let by_day = known.map(|day| {
        let ((count, ms), bad) = (n.on(day, is(Figure::Call)), n.on(day, wrong).0);
        vec![date(day, lang), count.to_string(), bad.to_string(), percent(bad, count), mean(ms, count)]
    });
    let (requests, average) = (lang.of("Requests", "Запросы"), lang.of("On average, ms", "В среднем, мс"));
    Report {
        headlines,
        lines: vec![n.line(average, |day| {
            let (count, ms) = n.on(day, is(Figure::Call));
            if count == 0 { 0.0 } else { whole(ms) / whole(count) }
        })],
        is_money: false,
        bars: None,
        tables: vec![
            Table {
                title: lang.of("By end", "По исходам"),
                heads: vec![lang.of("End", "Исход"), requests, "%", average],
                rows: by_end.collect(),
            },
            Table {
                title: lang.of("By time", "По времени"),
                heads: vec![
                    lang.of("Within, ms", "За, мс"),
                    requests,
                    lang.of("So many and all faster", "Вместе с более быстрыми"),
                ],
                rows: by_time,
            },
            Table {
                title: lang.of("By day", "По дням"),
                heads: vec![
                    lang.of("Day", "День"),
                    requests,
                    lang.of("Without a usable response", "Без внятного ответа"),
                    "%",
                    average,
                ],
                rows: by_day.collect(),
            },
        ],
    }
}

fn ending(label: &str, lang: Lang) -> String {
    match label {
        "ok" => lang.of("Done", "Выполнено"),
        "declined" => lang.of("Declined by the bank", "Отклонено банком"),
        "safe_to_retry" => lang.of("Not processed, may be repeated", "Не обработано, можно повторить"),
        "unknown" => lang.of("No answer: in doubt", "Нет ответа: исход неизвестен"),
        "our_fault" => lang.of("Not understood", "Не понято шлюзом"),
        "none" => lang.of("No end was written down", "Завершение не записано"),
        other => other,
    }
    .to_owned()
}

fn mean(all: i64, count: i64) -> String {
    if count == 0 { "—".to_owned() } else { (all / count).to_string() }
}

/// Within how many milliseconds so many of a hundred calls ended.
fn within(sums: &[Sum], of_hundred: i64) -> String {
    let mut by_time: BTreeMap<u64, i64> = BTreeMap::new();
    for sum in sums.iter().filter(|sum| sum.figure == Figure::Call) {
        *by_time.entry(most(&sum.label)).or_default() += sum.count;
    }
    let all: i64 = by_time.values().sum();
    let mut reached = 0;
    let found = by_time.into_iter().find(|(_, count)| {
        reached += count;
        reached * 100 >= all * of_hundred
    });
    found
        .filter(|_| all > 0)
        .map_or_else(|| "—".to_owned(), |(ms, _)| if ms == u64::MAX { "∞".to_owned() } else { ms.to_string() })
}

/// Of those who first paid in a month, how many pay at the ends of the months behind it.
pub(super) fn cohorts(n: &Numbers, lang: Lang) -> Report {
    let mut cohorts: BTreeMap<&str, BTreeMap<NaiveDate, (i64, i64)>> = BTreeMap::new();
    for sum in n.cohorts.iter().filter(|sum| sum.currency == n.currency) {
        let Some(day) = sum.day else { continue };
        cohorts.entry(&sum.label).or_default().insert(day, (sum.count, sum.amount.get()));
    }
    let is_asked = |day: NaiveDate| n.span.from <= day && day <= n.span.to;
    let mut rows = Vec::new();
    for (month, ends) in cohorts.iter().rev() {
        let first = ends.values().next().map_or(0, |(count, _)| *count);
        for (day, (count, worth)) in ends.iter().filter(|(day, _)| is_asked(**day)) {
            let at = format!("{}-{:02}", day.year(), day.month());
            rows.push(vec![(*month).to_owned(), at, count.to_string(), percent(*count, first), n.money(*worth, lang)]);
        }
    }
    let lines = cohorts.iter().rev().take(4).map(|(month, ends)| Line {
        name: (*month).to_owned(),
        values: ends
            .iter()
            .filter(|(day, _)| is_asked(**day))
            .map(|(day, (count, _))| (*day, Some(whole(*count))))
            .collect(),
    });
    Report {
        headlines: Vec::new(),
        lines: lines.collect(),
        is_money: false,
        bars: None,
        tables: vec![Table {
            title: lang.of("Who stays", "Кто остаётся"),
            heads: vec![
                lang.of("First paid in", "Впервые заплатили в"),
                lang.of("At the end of", "На конец"),
                lang.of("Pay", "Платят"),
                lang.of("Of those at the end of the first month", "От бывших на конец первого месяца"),
                "MRR",
            ],
            rows,
        }],
    }
}
