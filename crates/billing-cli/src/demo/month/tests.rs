//! What is played is as consistent as what has happened.

use billing::account::AccountStatus;
use billing::cipher::Cipher;
use billing::db::Db;
use billing::explain::{Next, When};
use billing::store::{subscriptions, tariffs};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::TICK;
use super::cast::{self, Bought, Fate, Person};

fn now() -> DateTime<Utc> {
    "2026-03-31T10:00:00Z".parse().expect("a time")
}

/// That the ledger is balanced and equal to the payments is asked by the database itself when the test ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_month_is_balanced_and_every_account_can_be_explained() {
    let database = testkit::postgres_from_template("billing-demo", |url| async move {
        let db = Db::connect(&url, 1).await?;
        db.migrate().await?;
        tariffs::seed(&mut *db.conn().await?, &tariffs::defaults(), now()).await?;
        Ok(())
    })
    .await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    let cipher = Cipher::from_keys(&"test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()).unwrap();
    let gateway = cloudpayments_sandbox::bind(cloudpayments_sandbox::Config::for_tests()).await.unwrap();
    let mut conn = db.conn().await.unwrap();

    // Of those to whom nothing happens a few are enough.
    let everybody = cast::everybody(now()).into_iter().enumerate();
    let people: Vec<Person> =
        everybody.filter(|(n, person)| person.fate != Fate::Stays || n % 4 == 0).map(|(_, person)| person).collect();
    assert_eq!(super::cases(&people).len(), 5, "each case is somebody's");
    let play = super::Play { gateway: &gateway, cipher: &cipher, zone: Tz::Europe__Moscow };
    play.run(&mut conn, people.clone(), now()).await.unwrap();
    play.keep_the_books(&mut conn, now()).await.unwrap();
    let again = super::play(&mut conn, &gateway, &cipher, Tz::Europe__Moscow, now()).await.unwrap();
    assert!(again.is_none(), "once");

    let times = <Settings as clap::Parser>::parse_from(["test"]).times.times().unwrap();
    for person in people {
        let subscription = subscriptions::get(&mut conn, person.id).await.unwrap().expect("registered");
        let explained = subscription.explained(&times, now());
        assert!(!explained.why.en.is_empty() && !explained.why.ru.is_empty(), "{person:?}");
        let account = &subscription.account;
        // What the timetable would have done is done: what comes next is still to come.
        if let Next::Step { at: When::At(at), what } = &explained.next {
            assert!(*at > now() - TICK, "{person:?}: {} at {at}", what.en);
        }
        let ended = matches!(account.status, AccountStatus::Overdue | AccountStatus::Canceled);
        let comes_early = person.comes_at < now() - chrono::TimeDelta::days(33);
        let Person { fate, buys, .. } = &person;
        match fate {
            Fate::Refused { code } if comes_early => {
                assert!(ended, "{person:?}");
                if account.status == AccountStatus::Overdue {
                    let code_of = subscription.refusal.as_ref().map(|rule| rule.code);
                    assert_eq!(code_of, Some(i32::from(*code)), "{person:?}: the panel names the reason");
                }
            }
            Fate::ChargedBack { .. } => assert!(!account.access(now()).has_access, "{person:?}"),
            Fate::OnlyLooks | Fate::GivesUp => assert_eq!(account.status, AccountStatus::Inactive, "{person:?}"),
            Fate::ForgetsCard { .. } => assert!(!account.has_token, "{person:?}"),
            Fate::Stays if *buys == Bought::Month => assert_eq!(account.status, AccountStatus::Active, "{person:?}"),
            _ => {}
        }
    }

    let count = async |conn: &mut AsyncPgConnection, from: &str| -> i64 {
        let client = diesel::sql_query(format!("select count(*) as n from {from}"));
        client.get_result::<Count>(conn).await.unwrap().n
    };
    assert_eq!(count(&mut conn, "payment where state = 'unknown'").await, 1, "one is in doubt");
    assert_eq!(count(&mut conn, "payment where state in ('created', 'sending')").await, 0, "none was left half done");
    assert_eq!(count(&mut conn, "gateway_call where ended_at is null").await, 0);
    assert_eq!(count(&mut conn, "refund where state = 'succeeded'").await, 4);
    assert_eq!(count(&mut conn, "refund where state = 'failed'").await, 1);
    assert_eq!(count(&mut conn, "chargeback").await, 1);
    assert_eq!(count(&mut conn, "receipt where issued_at is null and due_at is not null").await, 1, "one is missing");
    assert!(count(&mut conn, "trial").await > 15, "trials begin");
    let without = "bill b where status = 'Paid' and not exists (select from event e where e.bill_id = b.id)";
    assert_eq!(count(&mut conn, without).await, 0, "all has its story");
    let recovered = "daily_figure where figure = 'recovered'";
    assert!(count(&mut conn, recovered).await > 3, "reports are rolled up");
    let cash = "(select coalesce(sum(amount), 0) from daily_figure where figure = 'taken')
        - (select coalesce(sum(amount), 0) from daily_figure where figure = 'given_back')
        - (select coalesce(sum(l.amount), 0) from journal_line l join journal_entry e on e.id = l.entry_id
           where l.account = 'gateway_clearing' and e.day <= (select max(day) from report_day))";
    assert_eq!(count(&mut conn, &format!("generate_series(1, abs(({cash})::bigint))")).await, 0, "reports and ledger");
}

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    times: billing::times::TimesConfig,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

#[test]
fn nobody_has_the_card_of_another() {
    let mut cards: Vec<_> = cast::everybody(now()).into_iter().map(|person| person.card).collect();
    cards.sort();
    cards.dedup();
    assert_eq!(cards.len(), 500);
}
