//! What there is to do.

use askama::Template;
use axum::extract::State;
use billing::staff::Right;
use billing::store::browse::{self, MOST, Waiting};
use diesel_async::AsyncPgConnection;

use super::{Answer, Shared, approvals, briefly};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::When;

#[derive(Template)]
#[template(path = "home.html")]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
    sees_customers: bool,
}

struct Row {
    count: String,
    what: String,
    why: String,
    href: &'static str,
    oldest: Option<(When, String)>,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Answer {
    let shell = Shell::new(&core, Section::Home, &viewer);
    let sees_customers = viewer.visitor()?.has(Right::SeeCustomers);
    let mut rows = Vec::new();
    if sees_customers {
        let (mut conn, now) = (core.services.db.conn().await?, shell.now);
        let mut reading = conn.build_transaction().read_only();
        let waiting = reading.run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            browse::waiting(conn, now).await
        });
        let [unknown, twice, rejected] = waiting.await?;
        drop(conn);
        rows.extend(row(
            &shell,
            unknown,
            "/payments?state=unknown",
            shell.t("Payments in doubt for more than an hour", "Платежи неизвестны больше часа"),
            shell.t(
                "The gateway is asked on; nothing is charged again meanwhile.",
                "Шлюз продолжают спрашивать; второй раз деньги не берут.",
            ),
        ));
        rows.extend(row(
            &shell,
            twice,
            "/payments?state=succeeded_duplicate",
            shell.t("Paid twice", "Оплачено дважды"),
            shell.t("Nothing was owed: the money goes back.", "Платить было не за что: деньги возвращают."),
        ));
        rows.extend(row(
            &shell,
            rejected,
            "/payments?state=rejected",
            shell.t("Our mistakes of the last week", "Наши ошибки за неделю"),
            shell.t(
                "The gateway did not understand us: settings of the terminal, or ours.",
                "Шлюз нас не понял: настройки терминала или наши.",
            ),
        ));
    }
    if viewer.visitor()?.has(Right::Agree) {
        let waits = approvals::for_me(&core, &shell).await?;
        rows.extend(row(
            &shell,
            waits,
            "/approvals",
            shell.t("Waits for you to agree", "Ждёт вашего согласия"),
            shell.t("Another has asked for it; it needs a second person.", "Это запросил другой; нужно второе лицо."),
        ));
    }
    Ok(html(&Page { shell, rows, sees_customers }))
}

fn row(shell: &Shell, waiting: Waiting, href: &'static str, what: &str, why: &str) -> Option<Row> {
    (waiting.count > 0).then(|| Row {
        count: if waiting.count > MOST {
            shell.t("more than 10,000", "больше 10 000").to_owned()
        } else {
            waiting.count.to_string()
        },
        what: what.to_owned(),
        why: why.to_owned(),
        href,
        oldest: waiting.oldest.map(|at| (shell.when(&at), shell.distance(&at))),
    })
}
