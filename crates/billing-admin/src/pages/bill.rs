//! One bill with its attempts.

use askama::Template;
use axum::extract::{Path, State};
use billing::BillId;
use billing::explain::{self, PaymentFacts};
use billing::store::{browse, subscriptions};
use diesel_async::AsyncPgConnection;

use super::{Answer, Shared, bills, briefly, payments};
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::show::When;
use crate::story::Why;

#[derive(Template)]
#[template(path = "bill.html")]
struct Page {
    shell: Shell,
    bill: bills::Row,
    paid: Option<When>,
    skipped: String,
    why: Why,
    attempts: Vec<payments::Row>,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: BillId = id.parse().map_err(|_| Problem::NotFound)?;
    let mut conn = core.services.db.conn().await?;
    let read = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            let Some(found) = browse::bill(conn, id).await? else { return Ok(None) };
            let subscription = subscriptions::get(conn, found.bill.account_id).await?;
            Ok::<_, billing::store::StoreError>(Some((found, subscription)))
        })
        .await?;
    drop(conn);
    let (found, subscription) = read.ok_or(Problem::NotFound)?;
    let shell = Shell::new(&core, Section::Bills, &viewer);
    let times = &core.services.times;
    let live = found.attempts.iter().find(|(view, _)| view.state.is_live());
    let attempt = live.map(|(_, payment)| {
        let facts =
            PaymentFacts { payment, policy: &times.resolve, answer_within: times.answer_within, zone: shell.zone };
        explain::payment(facts, shell.now)
    });
    let subscription = subscription.map(|subscription| subscription.explained(times, shell.now));
    let explained = explain::bill(found.bill.status, found.bill.kind, attempt.as_ref(), subscription.as_ref());
    Ok(html(&Page {
        bill: bills::row(&shell, &found.bill),
        paid: found.bill.paid_at.map(|at| shell.when(&at)),
        skipped: skipped(found.bill.skipped.len(), &shell),
        why: Why::new(&explained, &shell),
        attempts: found.attempts.iter().map(|(view, _)| payments::row(&shell, view)).collect(),
        shell,
    }))
}

/// How many periods passed unpaid before this one.
fn skipped(count: usize, shell: &Shell) -> String {
    let en = ["period that passed before it", "periods that passed before it"];
    let ru = ["прошедший период", "прошедших периода", "прошедших периодов"];
    match count {
        0 => String::new(),
        count => format!("{count} {}", shell.lang().counted(count as u64, en, ru)),
    }
}
