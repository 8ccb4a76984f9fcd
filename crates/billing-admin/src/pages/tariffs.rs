//! What is sold, and at which price.

use billing::clock;
use billing::store::StoreError;
use billing::store::browse::{self, Order, Part, Slice, Sort, TariffLine};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::asked;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell};
use crate::params::Params;
use crate::show::{self, Pill};

/// By what they are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TariffKey {
    Name,
    Amount,
}

/// All of them: they are few, and are read and sorted at once.
pub(crate) struct Tariffs;

impl List for Tariffs {
    type Filter = Sort<TariffKey>;
    type Row = TariffLine;
    type Cursor = ();

    const NAME: &'static str = "tariffs";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "amount",
        "currency",
        "period",
        "on_sale",
        "next_amount",
        "next_from",
        "trial_days",
        "trial_amount",
        "two_stages",
    ];

    fn filter(query: &Params, _: Tz) -> Sort<TariffKey> {
        let keys = [("name", TariffKey::Name), ("amount", TariffKey::Amount)];
        asked(query, &keys).unwrap_or(Sort { by: TariffKey::Name, order: Order::Ascending })
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a Sort<TariffKey>,
        _: Part<()>,
        _: i64,
    ) -> BoxFuture<'a, Result<Slice<TariffLine>, StoreError>> {
        Box::pin(async move {
            let mut rows = browse::tariffs(conn, clock::now()).await?;
            // They come by name, which decides between those of one price.
            if filter.by == TariffKey::Amount {
                rows.sort_by_key(|row| (row.tariff.currency, row.tariff.amount));
            }
            if filter.order == Order::Descending {
                rows.reverse();
            }
            Ok(Slice { rows, has_before: false, has_behind: false })
        })
    }

    fn cursor(_: &TariffLine, _: &Sort<TariffKey>) {}

    fn values(row: &TariffLine) -> Vec<Value> {
        let (tariff, trial) = (&row.tariff, row.tariff.trial());
        vec![
            Value::Text(tariff.id.to_string()),
            Value::Text(tariff.name.clone()),
            Value::Amount(tariff.amount, tariff.currency),
            Value::Text(tariff.currency.to_string()),
            Value::Text(tariff.period.to_string()),
            Value::Text(if tariff.is_active { "yes" } else { "no" }.to_owned()),
            row.next.map_or(Value::Nothing, |next| Value::Amount(next.amount, next.currency)),
            Value::at(row.next.map(|next| next.effective_from)),
            Value::number(trial.map(|trial| trial.days.into())),
            trial.map_or(Value::Nothing, |trial| Value::Amount(trial.amount, trial.currency)),
            Value::Text(if tariff.two_stages { "yes" } else { "no" }.to_owned()),
        ]
    }
}

impl Listed for Tariffs {
    const SECTION: Section = Section::Tariffs;
    const SORTED: &'static str = "name";

    fn title(lang: Lang) -> &'static str {
        lang.of("Tariffs", "Тарифы")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("Nothing is sold yet.", "Пока ничего не продаётся.")
    }

    fn fields(_: &Params, _: &Shell) -> Vec<Field> {
        Vec::new()
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Tariff", "Тариф")).by("name"),
            Head::number(lang.of("Price", "Цена")).by("amount"),
            Head::text(lang.of("Period", "Период")),
            Head::text(lang.of("Sale", "Продажа")),
            Head::text(lang.of("Next price", "Следующая цена")),
            Head::text(lang.of("Trial", "Пробный период")),
            Head::text(lang.of("Money", "Деньги")),
        ]
    }

    fn cells(row: &TariffLine, shell: &Shell) -> Vec<Cell> {
        let (tariff, lang) = (&row.tariff, shell.lang());
        let sale = if tariff.is_active {
            Pill { kind: "ok", shape: "✓", word: lang.of("On sale", "Продаётся") }
        } else {
            Pill { kind: "idle", shape: "–", word: lang.of("Not on sale", "Не продаётся") }
        };
        let next = row.next.map(|next| {
            let from = next.effective_from.with_timezone(&shell.zone).format(lang.of("%-d %b %Y", "%d.%m.%Y"));
            format!("{} {} {from}", show::money(next.amount, next.currency, lang), lang.of("from", "с"))
        });
        let trial = tariff.trial().map(|trial| {
            let days = u64::from(trial.days.unsigned_abs());
            let unit = lang.counted(days, ["day", "days"], ["день", "дня", "дней"]);
            format!("{days} {unit}, {}", show::money(trial.amount, trial.currency, lang))
        });
        let money = if tariff.two_stages {
            lang.of("held first, then taken", "сначала удерживаются, затем списываются")
        } else {
            lang.of("taken at once", "списываются сразу")
        };
        vec![
            Cell::Text(tariff.name.clone()),
            Cell::Text(show::money(tariff.amount, tariff.currency, lang)),
            Cell::Text(show::period(tariff.period, lang)),
            Cell::State(sale),
            Cell::Text(next.unwrap_or_default()),
            Cell::Text(trial.unwrap_or_default()),
            Cell::Words(money.to_owned()),
        ]
    }

    fn read_cursor(_: &str) -> Option<()> {
        None
    }

    fn write_cursor((): &()) -> String {
        String::new()
    }
}
