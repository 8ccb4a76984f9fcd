//! One bill with its attempts.

use askama::Template;
use axum::extract::{Path, State};
use billing::BillId;
use billing::explain::{self, PaymentFacts};
use billing::staff::Right;
use billing::store::staff::{Entry, audit};
use billing::store::{browse, subscriptions};
use diesel_async::AsyncPgConnection;

use super::{Answer, Shared, bills, briefly, payments};
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::show::{self, When};
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
    /// From where it was paid, with as much of it as may be seen.
    address: String,
    /// The whole of it is shown on demand.
    may_see_address: bool,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: BillId = id.parse().map_err(|_| Problem::NotFound)?;
    make(&core, &viewer, id, false).await
}

/// The same with the customer's personal traces. That somebody looked is written down before they see them.
pub(crate) async fn traces(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: BillId = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let entry = Entry::new("saw_traces");
    audit(&mut *db.conn().await?, &by, &entry.target("bill", &id.to_string()), db.now()).await?;
    make(&core, &viewer, id, true).await
}

async fn make(core: &Core, viewer: &Viewer, id: BillId, shows_traces: bool) -> Answer {
    let mut conn = core.services.db.conn().await?;
    let read = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            let Some(found) = browse::bill(conn, id).await? else { return Ok(None) };
            let subscription = subscriptions::get(conn, found.bill.account_id).await?;
            let address = browse::customer_address(conn, id).await?;
            Ok::<_, billing::store::StoreError>(Some((found, subscription, address)))
        })
        .await?;
    drop(conn);
    let (found, subscription, address) = read.ok_or(Problem::NotFound)?;
    let shell = Shell::new(core, Section::Bills, viewer);
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
        may_see_address: !shows_traces && address.is_some() && viewer.visitor()?.has(Right::SeeTraces),
        address: address.map_or_else(String::new, |it| if shows_traces { it } else { show::masked_address(&it) }),
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
