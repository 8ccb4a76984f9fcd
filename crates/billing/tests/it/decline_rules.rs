//! What refusals mean, as rows: changed while the program runs, with who, when, why and how it was before.

use billing::decline::{self, CustomerAction, DeclineGroup, Rule, Schedule};
use billing::event::EventKind;
use billing::explain;
use billing::store::declines::{self, Author, ChangeError};
use billing::store::{events, subscriptions};
use billing::text::Text;
use chrono::{DateTime, Utc};

use crate::shop::{Shop, month, refused};
use crate::support::{at, hours, noon};

fn due() -> DateTime<Utc> {
    at("2026-04-09T21:00:00Z")
}

fn author(reason: &str) -> Author {
    Author { actor: "anna".into(), reason: reason.into(), now: noon() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_has_the_rules_of_the_program() {
    let shop = Shop::open().await;
    let (rules, schedules) = declines::all(&mut *shop.conn().await).await.unwrap();
    assert_eq!(rules, decline::seed());
    assert_eq!(schedules.len(), DeclineGroup::ALL.len());
    for (group, schedule) in schedules {
        assert_eq!(schedule, Schedule::seeded(group), "{group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_changed_judges_the_next_refusal_and_words_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let ours = Rule {
        group: DeclineGroup::Soft,
        max_retries: 1,
        action: CustomerAction::CallBank,
        message: Text::new("The bank says no.", "Банк говорит нет."),
        ..Rule::unlisted(5043)
    };
    let mut conn = shop.conn().await;
    declines::set_rule(&mut conn, &ours, &author("this bank means it otherwise")).await.unwrap();
    declines::set_schedule(&mut conn, DeclineGroup::Soft, &[30, 60], &author("one more day")).await.unwrap();
    drop(conn);

    let first = shop.open_due(due()).await[0];
    shop.charge(first, refused(5043), due()).await;
    let overdue = shop.account_of(account).await;
    assert_eq!((overdue.next_charge_at, overdue.card_barred), (Some(due() + hours(30)), false));
    let group = shop.text(&format!("select decline_group from payment where id = '{first}'")).await;
    assert_eq!(group.as_deref(), Some("soft"));
    let story = events::story_of_payment(&mut *shop.conn().await, first).await.unwrap();
    let told = story.iter().find(|event| event.kind == EventKind::RenewalRefused).unwrap();
    assert_eq!(told.detail["message_ru"], "Банк говорит нет. Обратитесь в банк или оплатите другой картой.");
    assert_eq!((&told.detail["customer_action"], &told.detail["reason_code"]), (&"call_bank".into(), &5043.into()));
    let seen = subscriptions::get(&mut *shop.conn().await, account).await.unwrap().unwrap();
    let why = explain::account(&seen.account, None, seen.refusal.as_ref(), due()).why;
    assert!(why.en.contains("refused once. The bank says no. Access"), "{}", why.en);

    let second = shop.open_due(due() + hours(30)).await[0];
    shop.charge(second, refused(5043), due() + hours(30)).await;
    assert_eq!(shop.account_of(account).await.next_charge_at, None, "one retry at most, whatever the schedule has");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_kept_and_can_be_taken_back() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    let rule = Rule { max_retries: 2, ..Rule::unlisted(5051) };
    let first = declines::set_rule(&mut conn, &rule, &author("too many")).await.unwrap();
    let second =
        declines::set_rule(&mut conn, &Rule { max_retries: 1, ..rule.clone() }, &author("still")).await.unwrap();
    assert!(matches!(
        declines::revert(&mut conn, first, &author("no")).await,
        Err(ChangeError::ChangedSince { version, .. }) if version == second
    ));
    let third = declines::revert(&mut conn, second, &author("a mistake")).await.unwrap();
    assert_eq!(declines::ruling(&mut conn, 5051).await.unwrap().rule, rule);
    let log = declines::changes(&mut conn, 10).await.unwrap();
    let told: Vec<_> = log.iter().map(|change| (change.version, change.reason.as_str())).collect();
    assert_eq!(told, [(third, "a mistake"), (second, "still"), (first, "too many")]);
    assert_eq!((&log[0].before, &log[0].after), (&log[1].after, &log[1].before));
    assert_eq!((log[2].actor.as_str(), log[2].subject.as_str(), log[2].at), ("anna", "rule:5051", noon()));
    assert_eq!(log[2].before.as_ref().unwrap()["max_retries"], 4);

    // A code without a row of its own.
    let fresh = Rule { action: CustomerAction::Wait, ..Rule::unlisted(5999) };
    let version = declines::set_rule(&mut conn, &fresh, &author("a new code")).await.unwrap();
    assert_eq!(declines::ruling(&mut conn, 5999).await.unwrap().rule, fresh);
    declines::revert(&mut conn, version, &author("not ours")).await.unwrap();
    assert_eq!(declines::ruling(&mut conn, 5999).await.unwrap().rule, Rule::unlisted(5999));
    drop(conn);
    for forbidden in ["update decline_change set actor = 'x'", "delete from decline_change", "truncate decline_change"]
    {
        let refused = shop.sql(forbidden).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_changes_nothing() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    let soft = Rule::unlisted(5051);
    let no_reason = declines::set_rule(&mut conn, &Rule { max_retries: 1, ..soft.clone() }, &author(" ")).await;
    assert!(matches!(no_reason, Err(ChangeError::Reason)));
    let nobody = Author { actor: String::new(), ..author("why") };
    let nobody = declines::set_rule(&mut conn, &Rule { max_retries: 1, ..soft.clone() }, &nobody).await;
    assert!(matches!(nobody, Err(ChangeError::Actor)));
    assert!(matches!(declines::set_rule(&mut conn, &soft, &author("why")).await, Err(ChangeError::NoChange)));
    let hard = Rule { group: DeclineGroup::Hard, ..soft };
    assert!(matches!(declines::set_rule(&mut conn, &hard, &author("why")).await, Err(ChangeError::Rule(_))));
    let often = declines::set_schedule(&mut conn, DeclineGroup::Technical, &[1, 2], &author("why")).await;
    assert!(matches!(often, Err(ChangeError::Schedule(_))));
    assert!(matches!(declines::revert(&mut conn, 7, &author("why")).await, Err(ChangeError::UnknownVersion(7))));
    assert_eq!(declines::changes(&mut conn, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_past_the_checks_charge_no_card_too_often() {
    let shop = Shop::open().await;
    shop.sql("update decline_schedule set hours = '[1, 2, 3]' where decline_group = 'soft'").await.unwrap();
    let ruling = declines::ruling(&mut *shop.conn().await, 5051).await.unwrap();
    assert_eq!(ruling.schedule, Schedule::seeded(DeclineGroup::Soft));
}
