//! Every statement of the store reaches its rows by an index. At 20,000 subscribers a plan that reads a whole table is one
//! that will not do at a million, and PostgreSQL counts such reads itself: each call is made here, within a transaction that
//! is rolled back, and no large table may have been read from end to end meanwhile – by the statement, or by a trigger or
//! foreign key behind it.

use std::collections::BTreeSet;
use std::path::Path;

use billing::account::AccountStatus;
use billing::bill::BillKind;
use billing::bill::BillStatus;
use billing::breaker::{BreakerPolicy, Circuit, Signal};
use billing::cipher::{Cipher, Place};
use billing::decline::DeclineGroup;
use billing::event::{EventKind, NewEvent, Source};
use billing::ledger::{self, Entry, PaidOut, Return, ReturnedBy};
use billing::models::{TariffPrice, Trial};
use billing::notification::{Ids, Notice, NoticeEffect, NoticeKind};
use billing::payment::Instrument;
use billing::payment::PaymentState;
use billing::payment::evidence::{Ending, Evidence};
use billing::payment::identity::Terminal;
use billing::payment::{CardMask, Outcome};
use billing::receipt::OrderOutcome;
use billing::reconciliation::{DifferenceState, Listed, ListedChargeback, ListedOperation, Phase, Range, RunKind};
use billing::refund::{AccessEffect, RefundOutcome, RefundState};
use billing::resolve::ResolvePolicy;
use billing::staff::{Role, totp};
use billing::store::browse::{
    self, AccountFilter, AccountKey, BillFilter, DifferenceFilter, EventFilter, Made, NotificationCursor,
    NotificationFilter, Part, PaymentCursor, PaymentFilter, PaymentKey, RefundFilter, RefundKey, Sort,
};
use billing::store::circuits::{self, Watch};
use billing::store::declines::{self, Author};
use billing::store::gateway_calls::{self, CallOutcome, Ended};
use billing::store::keys::{self, Cursor, Sealed};
use billing::store::notifications::{self, NoticeKey, Received, Rules};
use billing::store::orphans::{self, Orphan};
use billing::store::payments::{self, NewPayment, PaymentView, Resolve};
use billing::store::receipts::{self, BeginOrder, RegisterOrder};
use billing::store::reconciliation::{self, Decision, Filter, Lost, Recovered, Run};
use billing::store::refunds::{self, Ask, BeginRefund, Chargeback, GatewayRefund, KnownFrom, Listing};
use billing::store::reports::{self, Figure, Span};
use billing::store::staff::{
    self, Action, ActionKind, AskClosing, AuditFilter, Bulk, BulkAsk, BulkWord, By, ByProvider, ClosingPreview,
    ClosingRules, Errand, Failure, Identity, ItemState, Order, SavedView, SessionKey, Setting, SettingDone,
    SettingOrder, Staff,
};
use billing::store::subscriptions::{self, NewCard, Request, Verb};
use billing::store::{accounts, announcements, closing, events, journal, renewals, restores, roles, standing, tariffs};
use billing::{AccountId, BillId, Currency, DifferenceId, Kopecks, PaymentId, ReceiptId, RefundId, clock};
use chrono::Duration;
use chrono_tz::Tz;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::shop::{KEYS, Shop, month, purchase, refused, took, unknown, year};
use crate::support::{hours, minutes, noon};

const SUBSCRIBERS: &str = "20000";

/// Rows of a chunk or a batch: a small part of the whole, as a thousand are of a million.
const FEW: i64 = 20;

const ORDERS: [browse::Order; 2] = [browse::Order::Descending, browse::Order::Ascending];

/// Events that no index has by their kind: wherever one begins to read, such a one is near.
const WITH_EACH_PAYMENT: [EventKind; 4] =
    [EventKind::PaymentMoved, EventKind::BillMoved, EventKind::AccessGranted, EventKind::PaymentSucceeded];

/// Tables that stay small, however many subscribers there are. Every other one has many rows here.
const SMALL: &[&str] = &[
    "__diesel_schema_migrations",
    "bulk",
    "circuit",
    "closed_balance",
    "closed_month",
    "decline_change",
    "decline_rule",
    "decline_schedule",
    "encryption_key",
    "event_log",
    "event_reader",
    "payment_closing",
    "refund_limit",
    "report_day",
    "restore",
    "revenue_day",
    "saved_view",
    "secret",
    "setting_change",
    "staff",
    "staff_action",
    "staff_errand",
    "staff_factor",
    "staff_identity",
    "staff_invitation",
    "staff_recovery_code",
    "staff_session",
    "staff_sign_in",
    "staff_sign_in_state",
    "tariff",
    "tariff_price",
    "tariff_vat",
];

/// What adds up all there is, and is called by a person.
const WHOLE: &[&str] = &["journal::faults"];

/// Rows for the tables that subscribers alone leave empty.
const MORE: &str = "
    insert into api_request (client, idempotency_key, verb, account_id, created_at)
    select 'frontend', id::text, 'cancel', id, created_at from account;
    insert into orphan (payment_id, transaction_id, what)
    select id, transaction_id, 'amount' from payment where transaction_id is not null limit 5000;
    insert into gateway_call (id, started_at, ended_at, payment_id, path, attempt, outcome, request)
    select gen_random_uuid(), created_at, created_at, id, '/payments/cards/charge', 1, 'ok', '{}' from payment;
    insert into refund (payment_id, amount, currency, state, source, effect, reason, request_id, finished_at)
    select id, amount, currency, 'failed', 'external', 'keep', 'many', 'many:' || id, created_at
    from payment where state = 'succeeded';
    insert into chargeback (id, payment_id, transaction_id, amount, currency, kind, operation, at)
    select id::text, id, 0, amount, currency, 'Chargeback', 'Presentment', created_at from payment where state = 'succeeded';
    insert into notification (kind, gateway_id, body_sha256, received_at, told, transaction_id, payment_id, effect,
        effected_at, try_at)
    select 'pay', id::text, sha256(id::text::bytea), created_at, '{}', transaction_id, id, 'applied', created_at, created_at
    from payment;
    insert into receipt (id, payment_id, created_at, amount, due_at, document, issued_at)
    select id, id, created_at, amount, created_at, id::text, created_at from payment;
    insert into trial (account_id, bill_id, began_at, ends_at, card_hash)
    select distinct on (account_id) account_id, id, created_at, created_at + interval '7 days', sha256(id::text::bytea)
    from bill order by account_id;
    insert into tries (payment_id, looks) select id, 1 from payment limit 5000;
    insert into audit_log (at, name, role, address, action, target_kind, target)
    select created_at, 'ada', 'support', '192.0.2.1', 'looked', 'account', id::text from account;
    insert into skipped_period (account_id, begins_at, ends_at, period_no, bill_id, noticed_at)
    select account_id, created_at, created_at + interval '1 day', 1, id, created_at from bill;
    insert into role_push (account_id, role, version, acknowledged, due_at)
    select id, 'BaseUser', n, case when n % 1000 = 0 then 0 else n end, created_at
    from (select id, created_at, row_number() over () as n from account) as numbered;
    insert into gateway_transaction (transaction_id, created_at, operation, status, amount, currency, invoice_no, account_id,
        original_id, on_our_terminal, listed_at)
    select p.transaction_id, p.created_at, 'payment', 'Completed', p.amount, p.currency, p.invoice_no, b.account_id, null,
        true, p.created_at
    from payment p join bill b on b.id = p.bill_id where p.transaction_id is not null;
    insert into daily_figure (day, figure, label, currency, count, amount)
    select date '2000-01-01' + n % 9000, 'attempt', n::text, 'RUB', 1, 1 from generate_series(1, 20000) as n;
    insert into gateway_chargeback (chargeback_id, transaction_id, at, listed_at)
    select transaction_id, transaction_id, timestamptz '2010-01-01' + n * interval '1 hour', created_at
    from (select *, row_number() over () as n from payment where transaction_id is not null limit 5000) as taken;
    insert into reconciliation (id, created_at, kind, range_from, range_to, phase, started_at, ended_at, leased_until)
    select gen_random_uuid(), at, 'asked', at, at + interval '1 day', 'ended', at, at, at
    from (select timestamptz '2010-01-01' + n * interval '1 day' as at from generate_series(1, 5000) as n) as days;
    insert into difference (id, kind, subject, created_at, found_by, seen_at, seen_by, at, payment_id, state, decided_at,
        decided_by, reason)
    select gen_random_uuid(), 'amount', id, created_at, run, created_at, run, created_at, id, 'explained', created_at,
        'anna', 'a test'
    from payment, (select id as run from reconciliation limit 1) as run limit 5000;
    insert into staff (id, created_at, updated_at, name, role, password, is_one_time)
    values ('00000000-0000-0000-0000-00000000000a', now(), now(), 'olga', 'accountant', 'no hash', false);
    insert into bulk (id, created_at, kind, days, conditions, staff_id, made_by, made_role, address, reason, items, left_out,
        total, state, asked_at, approved_by, approved_role, approved_at, ended_at)
    select ('00000000-0000-0000-0000-0000000000' || lpad(to_hex(n), 2, '0'))::uuid, '2010-01-01', 'extend', 3, '',
        '00000000-0000-0000-0000-00000000000a', 'olga', 'accountant', '192.0.2.1', 'an outage', 100, 0, 0, 'done',
        '2010-01-01', 'boris', 'chief_accountant', '2010-01-01', '2010-01-01'
    from generate_series(11, 60) as n;
    insert into bulk_item (bulk_id, no, account_id, state, ended_at)
    select ('00000000-0000-0000-0000-0000000000' || lpad(to_hex(11 + n % 50), 2, '0'))::uuid, n, id, 'done', '2010-01-01'
    from (select id, (row_number() over ())::integer as n from account limit 5000) as these;
    analyze;";

type Call = for<'a> fn(&'a mut AsyncPgConnection, &'a Rows) -> BoxFuture<'a, ()>;

/// Which function of the store, and a call of it that has something to do.
macro_rules! calls {
    ($($name:literal => |$conn:ident, $rows:ident| $call:expr;)*) => {
        &[$({
            fn call<'a>($conn: &'a mut AsyncPgConnection, $rows: &'a Rows) -> BoxFuture<'a, ()> {
                Box::pin(async move { let _ = $call; })
            }
            ($name, call as Call)
        }),*]
    };
}

const CALLS: &[(&str, Call)] = calls! {
    "accounts::access" => |conn, rows| accounts::access(conn, rows.account, noon()).await.unwrap();
    "accounts::access_after" => |conn, rows| accounts::access_after(conn, Some(rows.account), noon(), 100).await.unwrap();
    "accounts::access_of" => |conn, rows| accounts::access_of(conn, &rows.accounts, noon()).await.unwrap();
    "announcements::cards" => |conn, _rows| announcements::cards(conn, noon(), FEW).await.unwrap();
    "announcements::prices" => |conn, _rows| {
        tariffs::set_price(conn, coming_price(), Duration::days(1), noon()).await.unwrap();
        announcements::prices(conn, Duration::days(30), noon(), FEW).await.unwrap()
    };
    "announcements::renewals" => |conn, _rows| {
        announcements::renewals(conn, Duration::days(3), noon() + Duration::days(28), FEW).await.unwrap()
    };
    "accounts::close_run_out" => |conn, _rows| accounts::close_run_out(conn, noon() + Duration::days(4), 200).await.unwrap();
    "accounts::get" => |conn, rows| accounts::get(conn, rows.account).await.unwrap();
    "accounts::move_expiration" => |conn, rows| {
        accounts::move_expiration(conn, rows.account, noon().date_naive()).await.unwrap()
    };
    "accounts::register" => |conn, _rows| {
        accounts::register(conn, AccountId::new(), Tz::Europe__Moscow, noon()).await.unwrap()
    };
    "browse::accounts" => |conn, _rows| {
        let keys = [AccountKey::Created, AccountKey::PaidUntil, AccountKey::NextCharge];
        for (by, order) in keys.into_iter().flat_map(|by| ORDERS.map(|order| (by, order))) {
            for status in [None, Some(AccountStatus::Active), Some(AccountStatus::Overdue)] {
                let filter = AccountFilter { status, sort: Sort { by, order } };
                let first = browse::accounts(conn, filter, Part::First, FEW).await.unwrap();
                if let Some(last) = first.rows.last() {
                    browse::accounts(conn, filter, Part::Behind(last.cursor(by)), FEW).await.unwrap();
                    browse::accounts(conn, filter, Part::Before(last.cursor(by)), FEW).await.unwrap();
                }
            }
        }
    };
    "browse::bill" => |conn, rows| browse::bill(conn, rows.paid.bill_id).await.unwrap();
    "browse::bills" => |conn, rows| {
        for status in std::iter::once(None).chain(BillStatus::ALL.iter().copied().map(Some)) {
            for part in [Part::First, Part::Behind(rows.paid.bill_id), Part::Before(rows.paid.bill_id)] {
                for order in ORDERS {
                    let filter = BillFilter { status, order, ..BillFilter::default() };
                    browse::bills(conn, BillFilter { made: today(), ..filter }, part, FEW).await.unwrap();
                    browse::bills(conn, filter, part, FEW).await.unwrap();
                }
            }
        }
    };
    "browse::customer_address" => |conn, rows| browse::customer_address(conn, rows.paid.bill_id).await.unwrap();
    "browse::differences" => |conn, rows| {
        let of = DifferenceFilter { state: Some(DifferenceState::Open), ..DifferenceFilter::default() };
        let place = (rows.paid.created_at, DifferenceId::new());
        for filter in [DifferenceFilter::default(), of] {
            for part in [Part::First, Part::Behind(place), Part::Before(place)] {
                for order in ORDERS {
                    browse::differences(conn, DifferenceFilter { order, ..filter }, part, FEW).await.unwrap();
                }
            }
        }
    };
    "browse::events" => |conn, rows| {
        let (all, few) = (EventFilter::default(), [Source::Notification, Source::Reconciliation, Source::Staff]);
        let mut filters = vec![all, EventFilter { account_id: Some(rows.account), ..all }];
        let kinds = EventKind::ALL.iter().filter(|kind| !WITH_EACH_PAYMENT.contains(kind));
        filters.extend(kinds.map(|kind| EventFilter { kind: Some(*kind), ..all }));
        filters.extend(few.map(|source| EventFilter { source: Some(source), ..all }));
        for (filter, order) in filters.into_iter().flat_map(|filter| ORDERS.map(|order| (filter, order))) {
            for part in [Part::First, Part::Behind(9_000), Part::Before(9_000)] {
                browse::events(conn, EventFilter { order, ..filter }, part, FEW).await.unwrap();
            }
        }
    };
    "browse::notifications" => |conn, rows| {
        let receipts = NotificationFilter { kind: Some(NoticeKind::Receipt), ..NotificationFilter::default() };
        let orphans = NotificationFilter { effect: Some(NoticeEffect::Orphan), ..NotificationFilter::default() };
        let place = NotificationCursor {
            received_at: rows.paid.created_at,
            gateway_id: "77".into(),
            body_sha256: vec![7; 32],
            kind: NoticeKind::Pay,
        };
        for filter in [NotificationFilter::default(), receipts, orphans] {
            for part in [Part::First, Part::Behind(place.clone()), Part::Before(place.clone())] {
                for order in ORDERS {
                    browse::notifications(conn, NotificationFilter { order, ..filter }, &part, FEW).await.unwrap();
                }
            }
        }
    };
    "browse::refunds" => |conn, rows| {
        let waits = RefundFilter { waits: true, ..RefundFilter::default() };
        let failed = RefundFilter { state: Some(RefundState::Unknown), ..RefundFilter::default() };
        let place = (Kopecks::new(59_900), RefundId::from(rows.paid.id.get()));
        for filter in [RefundFilter::default(), waits, failed] {
            for part in [Part::First, Part::Behind(place), Part::Before(place)] {
                for (by, order) in [RefundKey::Made, RefundKey::Amount].into_iter().flat_map(|by| ORDERS.map(|it| (by, it))) {
                    browse::refunds(conn, RefundFilter { sort: Sort { by, order }, ..filter }, part, FEW).await.unwrap();
                }
            }
        }
    };
    "browse::tariffs" => |conn, _rows| browse::tariffs(conn, noon()).await.unwrap();
    "browse::by_card" => |conn, _rows| {
        browse::by_card(conn, "4242", today(), Some(Kopecks::new(59_900)), FEW).await.unwrap()
    };
    "browse::by_id" => |conn, rows| browse::by_id(conn, rows.paid.id.get()).await.unwrap();
    "browse::by_number" => |conn, rows| browse::by_number(conn, rows.paid.invoice_no).await.unwrap();
    "browse::payment" => |conn, rows| browse::payment(conn, rows.paid.id).await.unwrap();
    "browse::payments" => |conn, rows| {
        for state in std::iter::once(None).chain(PaymentState::ALL.iter().copied().map(Some)) {
            for (by, place) in [
                (PaymentKey::Made, PaymentCursor::Id(rows.paid.id)),
                (PaymentKey::Transaction, PaymentCursor::Transaction(77)),
            ] {
                for (part, order) in [Part::First, Part::Behind(place), Part::Before(place)]
                    .into_iter()
                    .flat_map(|part| ORDERS.map(|order| (part, order)))
                {
                    let filter = PaymentFilter { state, sort: Sort { by, order }, ..PaymentFilter::default() };
                    browse::payments(conn, filter, part, FEW).await.unwrap();
                    browse::payments(conn, PaymentFilter { made: today(), ..filter }, part, FEW).await.unwrap();
                }
            }
        }
        let refused = PaymentFilter { reason_code: Some(5051), ..PaymentFilter::default() };
        browse::payments(conn, refused, Part::First, FEW).await.unwrap()
    };
    "browse::waiting" => |conn, _rows| browse::waiting(conn, noon()).await.unwrap();
    "circuits::all" => |conn, _rows| circuits::all(conn).await.unwrap();
    "circuits::end_pause" => |conn, _rows| circuits::end_pause(conn, Circuit::Gateway, noon()).await.unwrap();
    "circuits::get" => |conn, _rows| circuits::get(conn, Circuit::Gateway).await.unwrap();
    "circuits::heard" => |conn, _rows| {
        let failed = [(Circuit::Gateway, Signal::Failed)];
        circuits::heard(conn, Watch::UNASKED, &failed, "HTTP status 503", &BreakerPolicy::default(), noon()).await.unwrap()
    };
    "closing::wipe_traces" => |conn, _rows| {
        closing::wipe_traces(conn, noon() + Duration::days(9), Duration::days(1), 100).await.unwrap()
    };
    "declines::all" => |conn, _rows| declines::all(conn).await.unwrap();
    "declines::changes" => |conn, _rows| declines::changes(conn, 100).await.unwrap();
    "declines::revert" => |conn, rows| {
        let version = rows.change_a_rule(conn).await;
        declines::revert(conn, version, &rows.author()).await.unwrap()
    };
    "declines::ruling" => |conn, _rows| declines::ruling(conn, 5051).await.unwrap();
    "declines::set_rule" => |conn, rows| rows.change_a_rule(conn).await;
    "declines::set_schedule" => |conn, rows| {
        declines::set_schedule(conn, DeclineGroup::Soft, &[48], &rows.author()).await.unwrap()
    };
    "events::append" => |conn, rows| {
        let told = NewEvent::of_account(EventKind::AccountRegistered, rows.account);
        events::append(conn, vec![told], noon()).await.unwrap();
    };
    "events::keep" => |conn, _rows| events::keep(conn, clock::now(), noon() - Duration::days(1_000)).await.unwrap();
    "events::log" => |conn, _rows| events::log(conn).await.unwrap();
    "events::read" => |conn, rows| {
        events::read(conn, 30_000, &[], None, 100).await.unwrap();
        events::read(conn, 59_000, &[EventKind::AccessGranted], None, 100).await.unwrap();
        events::read(conn, 59_000, &[], Some(rows.account), 100).await.unwrap()
    };
    "events::sequence" => |conn, _rows| events::sequence(conn, 100).await.unwrap();
    "events::sequence_all" => |conn, _rows| events::sequence_all(conn, 100).await.unwrap();
    "events::story_of_account" => |conn, rows| events::story_of_account(conn, rows.account, None, 100).await.unwrap();
    "events::story_of_payment" => |conn, rows| events::story_of_payment(conn, rows.paid.id).await.unwrap();
    "gateway_calls::begin" => |conn, rows| {
        gateway_calls::begin(conn, rows.paid.id, "/payments/find", None, noon()).await.unwrap()
    };
    "gateway_calls::end" => |conn, rows| {
        let ended = rows.ended_call(conn).await;
        gateway_calls::end(conn, &ended, noon()).await.unwrap();
    };
    "gateway_calls::keep" => |conn, _rows| {
        gateway_calls::keep(conn, clock::now(), noon() - Duration::days(1_000)).await.unwrap()
    };
    "gateway_calls::wipe_bodies" => |conn, _rows| {
        gateway_calls::wipe_bodies(conn, noon() + Duration::days(1_000), FEW).await.unwrap()
    };
    "gateway_calls::of_payment" => |conn, rows| gateway_calls::of_payment(conn, rows.paid.id).await.unwrap();
    "journal::balances" => |conn, _rows| journal::balances(conn, noon().date_naive() - Duration::days(30)).await.unwrap();
    "journal::close_month" => |conn, _rows| {
        let month = noon().date_naive() - Duration::days(90);
        journal::close_month(conn, month, "accountant", Tz::Europe__Moscow, noon()).await
    };
    "journal::deferred" => |conn, _rows| journal::deferred(conn, noon().date_naive() - Duration::days(30)).await.unwrap();
    "journal::enter_payout" => |conn, _rows| {
        let day = noon().date_naive();
        let (amount, currency) = (Kopecks::new(100), Currency::RUB);
        let payout = PaidOut { transaction_id: 1, day, amount, paid_out: amount, currency };
        journal::enter_payout(conn, &payout, Tz::Europe__Moscow, noon()).await.unwrap()
    };
    "journal::enter_return" => |conn, rows| {
        let amount = Kopecks::new(100);
        let back = Return { key: "refund:1".into(), by: ReturnedBy::Refund, amount, transaction_id: None };
        journal::enter_return(conn, rows.paid.id, &back, Tz::Europe__Moscow, noon()).await.unwrap()
    };
    "journal::next_revenue_day" => |conn, _rows| journal::next_revenue_day(conn).await.unwrap();
    "journal::postings" => |conn, _rows| {
        let day = noon().date_naive() - Duration::days(5);
        journal::postings(conn, day, day + Duration::days(1), None, 100).await.unwrap()
    };
    "journal::postings_of" => |conn, rows| journal::postings_of(conn, rows.paid.id).await.unwrap();
    "journal::recognize" => |conn, _rows| {
        // Few of the many run on that day.
        let day = noon().date_naive() + Duration::days(30);
        let before = format!("insert into revenue_day values ('{}', now())", day - Duration::days(1));
        conn.batch_execute(&before).await.unwrap();
        journal::recognize(conn, day, Tz::Europe__Moscow, noon()).await.unwrap().unwrap()
    };
    "journal::set_vat" => |conn, _rows| {
        journal::set_vat(conn, month(), ledger::SaleTerms::of_service(None), noon(), "accountant", noon()).await.unwrap();
    };
    "journal::write" => |conn, rows| journal::write(conn, &rows.entry()).await.unwrap();
    "keys::admit" => |conn, rows| keys::admit(conn, &rows.shop.cipher, noon()).await.unwrap();
    "keys::known" => |conn, _rows| keys::known(conn).await.unwrap();
    "keys::page" => |conn, rows| {
        let behind = rows.account.get();
        keys::page(conn, Cursor::BEGIN, FEW).await.unwrap();
        keys::page(conn, Cursor::Cards(behind), FEW).await.unwrap();
        keys::page(conn, Cursor::Bills(behind), FEW).await.unwrap();
        keys::page(conn, Cursor::Verifications(behind), FEW).await.unwrap();
        keys::page(conn, Cursor::Receipts(behind), FEW).await.unwrap();
        keys::page(conn, Cursor::StaffFactors, FEW).await.unwrap();
        keys::page(conn, Cursor::Notifications, FEW).await.unwrap()
    };
    "keys::reseal" => |conn, rows| {
        let keys = format!("new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=,{KEYS}");
        let cipher = Cipher::from_keys(&keys.as_str().into()).unwrap();
        let sealed = Sealed { place: Place::Token(rows.account), text: rows.token(conn).await };
        let bill = keys::page(conn, Cursor::Bills(uuid::Uuid::nil()), FEW).await.unwrap().sealed;
        keys::reseal(conn, &[[sealed].as_slice(), &bill].concat(), &cipher).await.unwrap()
    };
    "keys::retire" => |conn, rows| {
        keys::retire(conn, &rows.shop.cipher, Duration::days(35), noon()).await.unwrap();
    };
    "keys::usage" => |conn, rows| {
        keys::admit(conn, &rows.shop.cipher, noon()).await.unwrap();
        keys::usage(conn).await.unwrap();
    };
    "notifications::act" => |conn, rows| {
        let received = rows.notification();
        let rules = Rules { terminal: Terminal::Test, patience: Duration::seconds(15), zone: Tz::Europe__Moscow };
        notifications::receive(conn, &received, &rows.shop.cipher, noon()).await.unwrap();
        notifications::act(conn, &received.key, rules, &rows.shop.cipher, noon()).await.unwrap()
    };
    "notifications::check" => |conn, rows| {
        notifications::check(conn, &rows.notification().notice, Terminal::Test).await.unwrap()
    };
    "notifications::keep" => |conn, _rows| notifications::keep(conn, noon() + hours(1), FEW).await.unwrap();
    "notifications::of_payment" => |conn, rows| notifications::of_payment(conn, rows.paid.id).await.unwrap();
    "notifications::of_payments" => |conn, rows| {
        notifications::of_payments(conn, &[rows.paid.id, rows.sending.id]).await.unwrap()
    };
    "notifications::one" => |conn, rows| {
        let key = rows.a_notification(conn).await;
        notifications::one(conn, &key).await.unwrap()
    };
    "notifications::pending" => |conn, _rows| notifications::pending(conn, noon() + hours(1), FEW).await.unwrap();
    "notifications::put_off" => |conn, rows| {
        let received = rows.notification();
        notifications::receive(conn, &received, &rows.shop.cipher, noon()).await.unwrap();
        notifications::put_off(conn, &received.key, noon()).await.unwrap();
    };
    "notifications::receive" => |conn, rows| {
        notifications::receive(conn, &rows.notification(), &rows.shop.cipher, noon()).await.unwrap()
    };
    "gateway_calls::of_payments" => |conn, rows| {
        gateway_calls::of_payments(conn, &[rows.paid.id, rows.doubtful]).await.unwrap()
    };
    "orphans::of_payment" => |conn, rows| orphans::of_payment(conn, rows.paid.id).await.unwrap();
    "orphans::report" => |conn, rows| {
        orphans::report(conn, &rows.orphan(), Terminal::Live, Tz::Europe__Moscow, noon()).await.unwrap()
    };
    "payments::said_of_refusals" => |conn, rows| {
        payments::said_of_refusals(conn, &[rows.paid.id, rows.sending.id]).await.unwrap()
    };
    "payments::account_of" => |conn, rows| payments::account_of(conn, rows.paid.id).await.unwrap();
    "payments::apply" => |conn, rows| {
        payments::apply(conn, rows.sending.id, took(&rows.sending, 77), &rows.shop.cipher, noon()).await.unwrap();
        payments::apply(conn, rows.renewal, refused(5051), &rows.shop.cipher, noon()).await.unwrap();
        rows.tries(conn).await;
    };
    "payments::apply_answer" => |conn, rows| {
        let (ended, paid) = (rows.ended_call(conn).await, took(&rows.sending, 77));
        payments::apply_answer(conn, rows.sending.id, paid, Some(&ended), &rows.shop.cipher, noon()).await.unwrap()
    };
    "payments::begin_posting" => |conn, rows| {
        payments::begin_posting(conn, rows.answered, &rows.shop.cipher, noon()).await.unwrap()
    };
    "payments::begin_resend" => |conn, rows| {
        let (policy, later) = (ResolvePolicy::default(), noon() + minutes(10));
        payments::begin_resend(conn, rows.doubtful, &policy, &rows.shop.cipher, later).await.unwrap()
    };
    "payments::begin_resolving" => |conn, rows| rows.look(conn).await;
    "payments::begin_sending" => |conn, rows| {
        payments::begin_sending(conn, rows.created, &rows.shop.cipher, noon()).await.unwrap()
    };
    "payments::count_unprocessed" => |conn, rows| payments::count_unprocessed(conn, rows.created).await.unwrap();
    "payments::create" => |conn, rows| {
        let anew = NewPayment { now: noon() + hours(1), ..purchase(rows.on_the_page.account_id) };
        payments::create(conn, anew, &rows.shop.cipher).await.unwrap()
    };
    "payments::claim_hold" => |conn, rows| {
        payments::claim_hold(conn, rows.paid.id, noon() + hours(1), noon()).await.unwrap()
    };
    "payments::created_before" => |conn, rows| {
        payments::created_before(conn, &purchase(rows.account)).await.unwrap()
    };
    "payments::extend" => |conn, rows| {
        let Resolve::Look(mut look) = rows.look(conn).await else { panic!("it is due") };
        look.extend(conn, noon() + hours(1)).await.unwrap()
    };
    "payments::fail" => |conn, rows| {
        let Resolve::Look(look) = rows.look(conn).await else { panic!("it is due") };
        look.fail(conn, "no answer", noon() + hours(1)).await.unwrap();
    };
    "payments::get" => |conn, rows| payments::get(conn, rows.paid.id).await.unwrap();
    "payments::holds" => |conn, _rows| payments::holds(conn, noon(), 50).await.unwrap();
    "payments::look_after" => |conn, rows| {
        let Resolve::Look(look) = rows.look(conn).await else { panic!("it is due") };
        look.look_after(conn, None).await.unwrap();
    };
    "payments::overdue_three_ds" => |conn, _rows| {
        payments::overdue_three_ds(conn, noon(), noon() + hours(1), 100).await.unwrap()
    };
    "payments::stranded" => |conn, _rows| {
        payments::stranded(conn, noon() + hours(1), noon() + hours(1), true, 100).await.unwrap();
        payments::stranded(conn, noon() + hours(1), noon() + hours(1), false, 100).await.unwrap()
    };
    "payments::submit_pa_res" => |conn, rows| {
        let (id, answer) = (rows.on_the_page.id, "PaRes: authenticated".into());
        payments::submit_pa_res(conn, id, rows.on_the_page.transaction_id.unwrap(), answer, &rows.shop.cipher, noon())
            .await
            .unwrap()
    };
    "payments::succeed" => |conn, rows| {
        let Resolve::Look(look) = rows.look(conn).await else { panic!("it is due") };
        look.succeed(conn).await.unwrap();
    };
    "payments::told" => |conn, rows| payments::told(conn, &[rows.created, rows.paid.id], noon()).await.unwrap();
    "payments::unresolved" => |conn, _rows| payments::unresolved(conn, noon(), noon() + hours(1), 100).await.unwrap();
    "reconciliation::ask" => |conn, rows| rows.run(conn, Phase::Listing).await;
    "reconciliation::by_id" => |conn, _rows| reconciliation::by_id(conn, DifferenceId::new()).await.unwrap();
    "reconciliation::chargeback" => |conn, _rows| reconciliation::chargeback(conn, "7").await.unwrap();
    "reconciliation::claim" => |conn, rows| {
        let run = rows.run(conn, Phase::Listing).await;
        reconciliation::claim(conn, run.id, noon() + hours(2), noon() + hours(1)).await.unwrap().unwrap()
    };
    "reconciliation::compare" => |conn, rows| {
        for phase in [Phase::Comparing, Phase::ComparingOurs] {
            let run = rows.run(conn, phase).await;
            let compared = reconciliation::compare(conn, &run, FEW, noon(), noon()).await.unwrap().run.unwrap();
            assert!(compared.transactions + compared.payments >= 1, "a chunk of {phase}");
            let run = Run { cursor_at: Some(noon() + Duration::days(900)), ..run };
            let at_the_end = reconciliation::compare(conn, &run, FEW, noon(), noon()).await.unwrap();
            assert!(at_the_end.run.is_none(), "it has moved on");
        }
    };
    "reconciliation::days" => |conn, _rows| {
        let last = noon().date_naive();
        reconciliation::days(conn, last - Duration::days(31), last).await.unwrap()
    };
    "reconciliation::decide" => |conn, rows| {
        let decision =
            Decision { state: DifferenceState::Explained, by: "anna".to_owned(), reason: "a test".to_owned() };
        let (_, id) = rows.difference(conn).await;
        reconciliation::decide(conn, id, decision, noon()).await.unwrap()
    };
    "reconciliation::due" => |conn, rows| {
        rows.run(conn, Phase::Listing).await;
        reconciliation::due(conn, noon() + hours(1)).await.unwrap().unwrap()
    };
    "reconciliation::end" => |conn, rows| {
        let run = rows.run(conn, Phase::Settling).await;
        // A day of which there is little: what there is of its own days it adds up.
        let range = Range::of_day("2025-01-01".parse().unwrap());
        let run = Run { range_from: range.from, range_to: range.to, ..run };
        reconciliation::end(conn, &run, noon()).await.unwrap()
    };
    "reconciliation::end_reading" => |conn, rows| {
        let run = rows.run(conn, Phase::Listing).await;
        reconciliation::end_reading(conn, &run).await.unwrap().unwrap()
    };
    "reconciliation::get" => |conn, rows| {
        let run = rows.run(conn, Phase::Listing).await;
        reconciliation::get(conn, run.id).await.unwrap().unwrap()
    };
    "reconciliation::keep_chargebacks" => |conn, rows| {
        let run = rows.run(conn, Phase::Chargebacks).await;
        let (chargeback_id, transaction_id) = ("one".to_owned(), rows.paid.transaction_id.unwrap());
        let page = [ListedChargeback { chargeback_id, transaction_id, amount: None, currency: None, kind: None, operation: None, at: noon() }];
        let run = reconciliation::keep_chargebacks(conn, &run, &page, noon(), noon()).await.unwrap().unwrap();
        reconciliation::keep_chargebacks(conn, &run, &[], noon(), noon()).await.unwrap().unwrap()
    };
    "reconciliation::keep_page" => |conn, rows| {
        let run = rows.run(conn, Phase::Listing).await;
        reconciliation::keep_page(conn, &run, &[rows.listed()], noon(), noon()).await.unwrap().unwrap()
    };
    "reconciliation::list" => |conn, rows| {
        let (run, before) = (rows.difference(conn).await.0.id, (noon(), DifferenceId::new()));
        let open = Filter { state: Some(DifferenceState::Open), ..Filter::default() };
        reconciliation::list(conn, open, 20).await.unwrap();
        reconciliation::list(conn, Filter { run: Some(run), ..Filter::default() }, 20).await.unwrap();
        reconciliation::list(conn, Filter { before: Some(before), ..Filter::default() }, 20).await.unwrap()
    };
    "reconciliation::open_daily" => |conn, _rows| {
        assert_eq!(reconciliation::open_daily(conn, noon()).await.unwrap(), 8);
        assert_eq!(reconciliation::open_daily(conn, noon()).await.unwrap(), 0);
    };
    "reconciliation::recover" => |conn, rows| {
        let lost = Lost {
            transaction_id: 1_000_000_008,
            made_at: noon(),
            invoice_no: 8,
            account_id: rows.account,
            amount: Kopecks::new(39_900),
            currency: Currency::RUB,
            payment_id: PaymentId::new(),
            bill_id: BillId::new(),
            tariff_id: month(),
            kind: BillKind::Renewal,
            period_no: 2,
            instrument: Instrument::Token,
        };
        assert_eq!(reconciliation::recover(conn, &lost, noon()).await.unwrap(), Recovered::Written);
    };
    "reconciliation::refunds_of" => |conn, _rows| reconciliation::refunds_of(conn, 1).await.unwrap();
    "reconciliation::release" => |conn, rows| {
        let run = rows.run(conn, Phase::Listing).await;
        reconciliation::release(conn, &run, noon()).await.unwrap();
    };
    "reconciliation::settled" => |conn, rows| {
        let (run, id) = rows.difference(conn).await;
        let found = reconciliation::by_id(conn, id).await.unwrap().unwrap();
        reconciliation::settled(conn, &run, &found, Some("it was paid late"), noon(), noon()).await.unwrap().unwrap()
    };
    "reconciliation::to_settle" => |conn, rows| {
        let (run, id) = rows.difference(conn).await;
        assert_eq!(reconciliation::to_settle(conn, &run, 10).await.unwrap()[0].id, id);
    };
    "reconciliation::troubled" => |conn, rows| {
        let run = rows.run(conn, Phase::Listing).await;
        reconciliation::troubled(conn, &run, "HTTP status 503", noon()).await.unwrap();
    };
    "refunds::apply" => |conn, rows| {
        let done = RefundOutcome::Done { gateway_tx_id: Some(78) };
        let id = rows.refund_sent(conn).await;
        refunds::apply(conn, id, done, None, noon() + hours(1)).await.unwrap()
    };
    "refunds::approve" => |conn, rows| {
        let id = rows.refund(conn, 39_900).await;
        let waits = format!("update refund set needs_approval = true where id = '{id}'");
        diesel::sql_query(waits).execute(conn).await.unwrap();
        refunds::approve(conn, id, "vera", "chief_accountant", noon()).await.unwrap()
    };
    "refunds::begin" => |conn, rows| rows.refund_sent(conn).await;
    "refunds::begin_resend" => |conn, rows| {
        let id = rows.refund_sent(conn).await;
        let later = noon() + minutes(7);
        refunds::begin(conn, id, later, later).await.unwrap();
        refunds::begin_resend(conn, id, &ResolvePolicy::default(), later).await.unwrap()
    };
    "refunds::due" => |conn, _rows| refunds::due(conn, noon(), noon(), noon(), FEW).await.unwrap();
    "refunds::get" => |conn, rows| refunds::get(conn, refunds::automatic_id(rows.paid.id)).await.unwrap();
    "refunds::is_barred" => |conn, rows| refunds::is_barred(conn, rows.paid.id).await.unwrap();
    "refunds::limits" => |conn, _rows| refunds::limits(conn).await.unwrap();
    "refunds::list" => |conn, rows| {
        let all = Listing { limit: FEW, ..Listing::default() };
        refunds::list(conn, &all).await.unwrap();
        refunds::list(conn, &Listing { account_id: Some(rows.account), ..all.clone() }).await.unwrap();
        refunds::list(conn, &Listing { payment_id: Some(rows.paid.id), ..all.clone() }).await.unwrap();
        refunds::list(conn, &Listing { waiting_for_approval: true, ..all }).await.unwrap()
    };
    "refunds::of_payment" => |conn, rows| refunds::of_payment(conn, rows.paid.id).await.unwrap();
    "refunds::payment_of" => |conn, rows| {
        refunds::payment_of(conn, rows.paid.transaction_id, None).await.unwrap();
        refunds::payment_of(conn, None, Some(&rows.sending.invoice_no.to_string())).await.unwrap()
    };
    "refunds::put_look_off" => |conn, rows| {
        let id = rows.refund_sent(conn).await;
        refunds::put_look_off(conn, id, "no answer", noon()).await.unwrap();
    };
    "refunds::recognise" => |conn, rows| {
        let told = rows.gateway_refund();
        refunds::recognise(conn, &told, KnownFrom::Notification, noon()).await.unwrap()
    };
    "refunds::recognise_chargeback" => |conn, rows| {
        let told = Chargeback {
            id: "1".into(),
            transaction_id: rows.paid.transaction_id.unwrap(),
            amount: rows.paid.amount,
            currency: "RUB".into(),
            kind: "Chargeback".into(),
            operation: "Presentment".into(),
            at: noon(),
        };
        refunds::recognise_chargeback(conn, &told, noon()).await.unwrap()
    };
    "refunds::request" => |conn, rows| rows.refund(conn, 100).await;
    "refunds::set_limit" => |conn, _rows| {
        let limit = refunds::limits(conn).await.unwrap().remove(0);
        refunds::set_limit(conn, &limit).await.unwrap()
    };
    "refunds::sum_of_payment" => |conn, rows| refunds::sum_of_payment(conn, rows.paid.id).await.unwrap();
    "refunds::told" => |conn, rows| {
        let id = rows.refund(conn, 100).await;
        refunds::told(conn, &[id], noon()).await.unwrap();
    };
    "refunds::withdraw" => |conn, rows| {
        let id = rows.refund(conn, 100).await;
        refunds::withdraw(conn, id, "anna", noon()).await.unwrap()
    };
    "receipts::keep" => |conn, rows| {
        let sale = receipts::sale(conn, rows.created, noon()).await.unwrap().expect("it sells");
        receipts::keep(conn, &sale, &"receipt".into(), &rows.shop.cipher, noon()).await.unwrap();
    };
    "receipts::kept" => |conn, rows| receipts::kept(conn, rows.paid.id.into(), &rows.shop.cipher).await.unwrap();
    "receipts::sale_returned" => |conn, rows| {
        rows.is_without_a_receipt(conn).await;
        let id = rows.refund(conn, 100).await;
        receipts::sale_returned(conn, id).await.unwrap().expect("it gives back")
    };
    "receipts::sale_ordered" => |conn, rows| {
        let id = rows.ordered_receipt(conn).await;
        receipts::sale_ordered(conn, id).await.unwrap().expect("it is not written down yet")
    };
    "receipts::order_missing" => |conn, rows| rows.ordered_receipt(conn).await;
    "receipts::list_missing" => |conn, rows| {
        rows.is_without_a_receipt(conn).await;
        receipts::list_missing(conn, noon(), FEW).await.unwrap()
    };
    "receipts::tell_missing" => |conn, rows| {
        rows.is_without_a_receipt(conn).await;
        assert_eq!(receipts::tell_missing(conn, noon(), FEW).await.unwrap(), [rows.paid.id]);
    };
    "receipts::due_orders" => |conn, rows| {
        let id = rows.ordered_receipt(conn).await;
        let due = receipts::due_orders(conn, noon(), noon(), FEW).await.unwrap();
        assert_eq!(due.into_iter().map(|due| due.id).collect::<Vec<_>>(), [id]);
    };
    "receipts::orders_told" => |conn, rows| {
        let id = rows.ordered_receipt(conn).await;
        receipts::orders_told(conn, &[id], noon()).await.unwrap();
    };
    "receipts::begin_order" => |conn, rows| rows.receipt_sent(conn).await;
    "receipts::apply_order" => |conn, rows| {
        let order = rows.receipt_sent(conn).await;
        let outcome = OrderOutcome::Queued { document: "rc-1".into() };
        let ended = Ended { call: order.call, outcome: CallOutcome::Ok, http_status: None, request: None, response: None };
        receipts::apply_order(conn, order.receipt_id, outcome, &ended, noon()).await.unwrap().expect("the order")
    };
    "receipts::sale" => |conn, rows| receipts::sale(conn, rows.created, noon()).await.unwrap();
    "renewals::open_due" => |conn, _rows| {
        let opened = renewals::open_due(conn, noon(), FEW).await.unwrap();
        assert_eq!(opened.accounts, 20, "a whole chunk");
    };
    "reports::deferred_by_tariff" => |conn, _rows| reports::deferred_by_tariff(conn, noon().date_naive()).await.unwrap();
    "reports::open" => |conn, _rows| reports::open(conn, noon()).await.unwrap();
    "reports::cohorts" => |conn, _rows| reports::cohorts(conn, noon().date_naive()).await.unwrap();
    "reports::deferred_until" => |conn, _rows| reports::deferred_until(conn, noon().date_naive()).await.unwrap();
    "reports::last_day" => |conn, _rows| reports::last_day(conn).await.unwrap();
    "reports::next_day" => |conn, _rows| reports::next_day(conn).await.unwrap();
    "reports::roll_up" => |conn, _rows| {
        // Few of the many run on that day.
        let day = noon().date_naive() + Duration::days(30);
        conn.batch_execute(&format!("insert into revenue_day values ('{day}', now())")).await.unwrap();
        reports::roll_up(conn, day, Tz::Europe__Moscow, noon()).await.unwrap().unwrap()
    };
    "reports::series" => |conn, _rows| {
        reports::series(conn, Span::ending(noon().date_naive(), 30), &[Figure::Taken]).await.unwrap()
    };
    "reports::totals" => |conn, _rows| {
        reports::totals(conn, Span::ending(noon().date_naive(), 30), &[Figure::Taken]).await.unwrap()
    };
    "restores::in_force" => |conn, _rows| restores::in_force(conn).await.unwrap();
    "restores::is_held" => |conn, _rows| restores::is_held(conn).await.unwrap();
    "restores::tell" => |conn, _rows| {
        let since = noon() - hours(1);
        let restore = restores::tell(conn, since, "anna", noon()).await.unwrap();
        let run = reconciliation::get(conn, restore.reconciliation_id).await.unwrap().unwrap();
        let run = Run { started_at: Some(noon()), ..run };
        reconciliation::end(conn, &run, noon()).await.unwrap();
        assert!(!restores::is_held(conn).await.unwrap());
    };
    "roles::acknowledge" => |conn, _rows| {
        let claimed = roles::claim(conn, clock::now(), clock::now() + minutes(1), 1, 1).await.unwrap();
        roles::acknowledge(conn, &claimed.due[0], clock::now()).await.unwrap();
    };
    "roles::claim" => |conn, _rows| {
        roles::claim(conn, clock::now(), clock::now() + minutes(1), FEW, FEW).await.unwrap()
    };
    "roles::follow" => |conn, _rows| roles::follow(conn, clock::now(), 100).await.unwrap();
    "roles::next_due" => |conn, _rows| roles::next_due(conn).await.unwrap();
    "roles::put_off" => |conn, _rows| {
        let claimed = roles::claim(conn, clock::now(), clock::now() + minutes(1), 1, 1).await.unwrap();
        roles::put_off(conn, &claimed.due[0], "unavailable", clock::now()).await.unwrap();
    };
    "staff::accept_invitation" => |conn, _rows| {
        let token = staff::invite(conn, "ada", Role::Support, &by(), noon()).await.unwrap();
        staff::accept_invitation(conn, &token, "hash", "192.0.2.1", noon()).await.unwrap()
    };
    "staff::approve_closing" => |conn, rows| {
        let id = rows.asked_closing(conn).await;
        let digest = rows.closing_preview(conn).await.digest;
        staff::approve_closing(conn, id, &digest, rows.closing_rules(), &By::command_line("boris"), noon()).await.unwrap()
    };
    "staff::ask_bulk" => |conn, _rows| {
        let (made, ada) = a_draft(conn).await;
        staff::ask_bulk(conn, made.id, "an outage", &ada, noon()).await.unwrap()
    };
    "staff::ask_closing" => |conn, rows| rows.asked_closing(conn).await;
    "staff::bulk_by_id" => |conn, _rows| staff::bulk_by_id(conn, MANY).await.unwrap();
    "staff::bulk_items" => |conn, _rows| {
        for state in [None, Some(ItemState::Refused)] {
            for part in [Part::First, Part::Behind(2_000), Part::Before(2_000)] {
                staff::bulk_items(conn, MANY, state, part, FEW).await.unwrap();
            }
        }
    };
    "staff::bulk_progress" => |conn, _rows| {
        let (made, _) = a_draft(conn).await;
        staff::bulk_progress(conn, made.id).await.unwrap()
    };
    "staff::bulk_step" => |conn, _rows| {
        let (made, _) = a_running_bulk(conn).await;
        staff::bulk_step(conn, &made, minutes(1), noon()).await.unwrap()
    };
    "staff::bulks" => |conn, _rows| staff::bulks(conn, None, browse::Order::Ascending, Part::First, FEW).await.unwrap();
    "staff::bulks_waiting" => |conn, _rows| staff::bulks_waiting(conn, noon(), FEW).await.unwrap();
    "staff::closing" => |conn, _rows| staff::closing(conn, MANY).await.unwrap();
    "staff::closings_of" => |conn, rows| staff::closings_of(conn, rows.doubtful).await.unwrap();
    "staff::closings_waiting" => |conn, _rows| staff::closings_waiting(conn, noon(), FEW).await.unwrap();
    "staff::freeze_bulk" => |conn, _rows| a_draft(conn).await;
    "staff::notification_again" => |conn, rows| {
        let key = rows.a_notification(conn).await;
        let digest = staff::see_notification(conn, &key).await.unwrap().unwrap().digest;
        let errand = an_errand(conn, digest).await;
        staff::notification_again(conn, &key, &errand, noon()).await.unwrap()
    };
    "staff::preview_closing" => |conn, rows| rows.closing_preview(conn).await;
    "staff::receipts_again" => |conn, rows| {
        let (_, digest) = staff::see_missing(conn, rows.paid.id, noon()).await.unwrap();
        let errand = an_errand(conn, digest).await;
        staff::receipts_again(conn, rows.paid.id, &errand, noon()).await.unwrap()
    };
    "staff::see_missing" => |conn, rows| staff::see_missing(conn, rows.paid.id, noon()).await.unwrap();
    "staff::see_notification" => |conn, rows| {
        let key = rows.a_notification(conn).await;
        staff::see_notification(conn, &key).await.unwrap()
    };
    "staff::take_bulk" => |conn, _rows| {
        a_running_bulk(conn).await;
        staff::take_bulk(conn, minutes(1), noon()).await.unwrap()
    };
    "staff::tell_bulk" => |conn, _rows| a_running_bulk(conn).await;
    "staff::withdraw_closing" => |conn, rows| {
        let id = rows.asked_closing(conn).await;
        staff::withdraw_closing(conn, id, &by(), noon()).await.unwrap();
    };
    "staff::accept_invitation_with" => |conn, _rows| {
        let token = staff::invite(conn, "ada", Role::Support, &by(), noon()).await.unwrap();
        staff::accept_invitation_with(conn, &token, &an_identity(), "192.0.2.1", noon()).await.unwrap()
    };
    "staff::allow_password" => |conn, _rows| {
        add_ada(conn).await;
        staff::allow_password(conn, "ada", &by(), noon()).await.unwrap();
    };
    "staff::identify" => |conn, _rows| {
        add_ada(conn).await;
        staff::identify(conn, &an_identity(), Some("Ada"), "192.0.2.1", noon()).await.unwrap()
    };
    "staff::identity_owner" => |conn, _rows| staff::identity_owner(conn, &an_identity()).await.unwrap();
    "staff::use_state" => |conn, _rows| staff::use_state(conn, "a state", noon()).await.unwrap();
    "staff::begin_by_provider" => |conn, _rows| {
        let ada = add_ada(conn).await;
        let by = ByProvider { issuer: an_identity().issuer, authenticated_at: None, has_shown_factor: true };
        staff::begin_by_provider(conn, ada.id, &by, "192.0.2.1", "a browser", noon()).await.unwrap()
    };
    "staff::act" => |conn, rows| {
        let (ada, _) = begin_session(conn).await;
        let action = extend(rows.account);
        let digest = staff::preview(conn, &action, noon()).await.unwrap().digest;
        let (id, reason) = (rows.paid.id.get(), "an outage".to_owned());
        staff::act(conn, &Order { id, action, digest, reason, staff_id: ada.id, by: by() }, noon()).await.unwrap()
    };
    "staff::add" => |conn, _rows| add_ada(conn).await;
    "staff::all" => |conn, _rows| staff::all(conn).await.unwrap();
    "staff::audit" => |conn, _rows| staff::audit(conn, &by(), &staff::Entry::new("looked"), noon()).await.unwrap();
    "staff::approve_refund" => |conn, rows| {
        let asked = staff::preview_refund(conn, &panel_ask(rows)).await.unwrap();
        staff::approve_refund(conn, asked.refund.id, &by(), noon()).await.unwrap_err()
    };
    "staff::ask_refund" => |conn, rows| {
        let ask = panel_ask(rows);
        let digest = staff::preview_refund(conn, &ask).await.unwrap().digest;
        staff::ask_refund(conn, &ask, &digest, &by()).await.unwrap()
    };
    "staff::audit_entries" => |conn, rows| {
        let of = |name: Option<&str>, target: Option<String>| AuditFilter {
            name: name.map(str::to_owned),
            target,
            order: browse::Order::Ascending,
        };
        for filter in [of(None, None), of(Some("ada"), None), of(None, Some(rows.account.to_string()))] {
            for part in [Part::First, Part::Behind(9_000), Part::Before(9_000)] {
                staff::audit_entries(conn, &filter, part, FEW).await.unwrap();
            }
        }
    };
    "staff::audited_about" => |conn, rows| {
        staff::audited_about(conn, &rows.account.to_string(), FEW).await.unwrap()
    };
    "staff::forget_view" => |conn, _rows| {
        let (ada, view) = save_view(conn).await;
        staff::forget_view(conn, ada.id, view.id).await.unwrap().unwrap()
    };
    "staff::save_view" => |conn, _rows| drop(save_view(conn).await);
    "staff::saved_views" => |conn, _rows| {
        let (ada, _) = save_view(conn).await;
        staff::saved_views(conn, ada.id, "payments").await.unwrap()
    };
    "staff::preview_setting" => |conn, _rows| {
        let sale = Setting::Sale { tariff_id: month(), is_active: false };
        staff::preview_setting(conn, &sale, Duration::days(1), noon()).await.unwrap()
    };
    "staff::set" => |conn, _rows| set_sale(conn).await;
    "staff::setting_change_of" => |conn, _rows| {
        let id = set_sale(conn).await;
        staff::setting_change_of(conn, id).await.unwrap()
    };
    "staff::setting_changes" => |conn, _rows| staff::setting_changes(conn, FEW).await.unwrap();
    "staff::begin" => |conn, _rows| begin_session(conn).await;
    "staff::by_name" => |conn, _rows| staff::by_name(conn, "ada").await.unwrap();
    "staff::change_role" => |conn, _rows| {
        add_ada(conn).await;
        staff::change_role(conn, "ada", Role::Auditor, &by(), noon()).await.unwrap();
    };
    "staff::choose_language" => |conn, _rows| {
        let ada = add_ada(conn).await;
        staff::choose_language(conn, ada.id, "en").await.unwrap();
    };
    "staff::choose_password" => |conn, _rows| {
        let (ada, key) = begin_session(conn).await;
        staff::choose_password(conn, ada.id, "hash", &key, &by(), noon()).await.unwrap();
    };
    "staff::confirm_factor" => |conn, rows| {
        let ada = add_ada(conn).await;
        staff::offer_factor(conn, ada.id, &rows.shop.cipher, noon()).await.unwrap();
        let secret = staff::offered_factor(conn, ada.id, &rows.shop.cipher).await.unwrap().unwrap();
        let code = totp::code(&secret, noon());
        staff::confirm_factor(conn, ada.id, &code, &rows.shop.cipher, &by(), noon()).await.unwrap().unwrap()
    };
    "staff::decide_difference" => |conn, rows| {
        let (_, id) = rows.difference(conn).await;
        let (open, resolved) = (DifferenceState::Open, DifferenceState::Resolved);
        staff::decide_difference(conn, id, open, resolved, "it is ours", &by(), noon()).await.unwrap()
    };
    "staff::disable" => |conn, _rows| {
        add_ada(conn).await;
        staff::disable(conn, "ada", &by(), noon()).await.unwrap();
    };
    "staff::end" => |conn, _rows| {
        let (_, key) = begin_session(conn).await;
        staff::end(conn, &key).await.unwrap();
    };
    "staff::end_all" => |conn, _rows| {
        let (ada, _) = begin_session(conn).await;
        staff::end_all(conn, ada.id, None).await.unwrap()
    };
    "staff::factor" => |conn, _rows| {
        let ada = add_ada(conn).await;
        staff::factor(conn, ada.id).await.unwrap()
    };
    "staff::failed" => |conn, _rows| staff::failed(conn, &[Failure::of_name("ada")], noon()).await.unwrap();
    "staff::invite" => |conn, _rows| staff::invite(conn, "ada", Role::Support, &by(), noon()).await.unwrap();
    "staff::invite_again" => |conn, _rows| {
        add_ada(conn).await;
        staff::invite_again(conn, "ada", &by(), noon()).await.unwrap()
    };
    "staff::invited" => |conn, _rows| staff::invited(conn, &"no such link".into(), noon()).await.unwrap();
    "staff::offer_factor" => |conn, rows| {
        let ada = add_ada(conn).await;
        staff::offer_factor(conn, ada.id, &rows.shop.cipher, noon()).await.unwrap();
    };
    "staff::offered_factor" => |conn, rows| {
        let ada = add_ada(conn).await;
        staff::offered_factor(conn, ada.id, &rows.shop.cipher).await.unwrap()
    };
    "staff::preview" => |conn, rows| staff::preview(conn, &extend(rows.account), noon()).await.unwrap();
    "staff::preview_refund" => |conn, rows| staff::preview_refund(conn, &panel_ask(rows)).await.unwrap();
    "staff::prove" => |conn, _rows| {
        let (_, key) = begin_session(conn).await;
        staff::prove(conn, &key, noon()).await.unwrap();
    };
    "staff::remove_factor" => |conn, rows| {
        let ada = add_ada(conn).await;
        staff::offer_factor(conn, ada.id, &rows.shop.cipher, noon()).await.unwrap();
        staff::remove_factor(conn, ada.id, &by(), noon()).await.unwrap();
    };
    "staff::renew" => |conn, _rows| {
        let (_, key) = begin_session(conn).await;
        staff::renew(conn, &key, noon()).await.unwrap()
    };
    "staff::renew_recovery_codes" => |conn, _rows| {
        let ada = add_ada(conn).await;
        staff::renew_recovery_codes(conn, ada.id, &by(), noon()).await.unwrap()
    };
    "staff::reset" => |conn, _rows| {
        add_ada(conn).await;
        staff::reset(conn, "ada", "hash", &by(), noon()).await.unwrap();
    };
    "staff::sessions" => |conn, _rows| {
        let (ada, _) = begin_session(conn).await;
        staff::sessions(conn, ada.id, noon()).await.unwrap()
    };
    "staff::succeeded" => |conn, _rows| staff::succeeded(conn, &Failure::of_name("ada")).await.unwrap();
    "staff::use_code" => |conn, rows| {
        let ada = add_ada(conn).await;
        let codes = staff::renew_recovery_codes(conn, ada.id, &by(), noon()).await.unwrap();
        staff::use_code(conn, ada.id, codes[0].expose_secret(), &rows.shop.cipher, noon()).await.unwrap()
    };
    "staff::visit" => |conn, _rows| {
        let (_, key) = begin_session(conn).await;
        staff::visit(conn, &key, noon() + minutes(2)).await.unwrap()
    };
    "staff::waits_until" => |conn, _rows| {
        staff::waits_until(conn, &[Failure::from_address("192.0.2.1")], noon()).await.unwrap()
    };
    "staff::withdraw_refund" => |conn, rows| {
        let asked = refunds::request(conn, &panel_ask(rows)).await.unwrap();
        staff::withdraw_refund(conn, asked.refund.id, &by(), noon()).await.unwrap()
    };
    "standing::look" => |conn, _rows| standing::look(conn, noon()).await.unwrap();
    "subscriptions::bill" => |conn, rows| subscriptions::bill(conn, rows.paid.bill_id).await.unwrap();
    "subscriptions::bills" => |conn, rows| {
        subscriptions::bills(conn, rows.account, Some(rows.paid.bill_id), 20).await.unwrap();
        subscriptions::bills(conn, rows.account, None, 20).await.unwrap()
    };
    "subscriptions::change_tariff" => |conn, rows| {
        subscriptions::change_tariff(conn, &request(rows.account), year()).await.unwrap()
    };
    "subscriptions::change_tariff_at_once" => |conn, rows| {
        let shown = Kopecks::new(1);
        subscriptions::change_tariff_at_once(conn, &request(rows.account), year(), shown).await.unwrap_err()
    };
    "subscriptions::changed_before" => |conn, rows| {
        subscriptions::changed_before(conn, &request(rows.account), year(), Kopecks::new(1)).await.unwrap()
    };
    "subscriptions::preview_change" => |conn, rows| {
        subscriptions::preview_change(conn, rows.account, year(), noon()).await.unwrap()
    };
    "subscriptions::close" => |conn, rows| subscriptions::close(conn, &request(rows.account), true).await.unwrap();
    "subscriptions::get" => |conn, rows| subscriptions::get(conn, rows.account).await.unwrap();
    "subscriptions::payments" => |conn, rows| {
        subscriptions::payments(conn, rows.account, Some(rows.paid.id), 20).await.unwrap();
        subscriptions::payments(conn, rows.account, None, 20).await.unwrap()
    };
    "subscriptions::perform" => |conn, rows| {
        for verb in [Verb::Cancel, Verb::Resume, Verb::ForgetCard] {
            subscriptions::perform(conn, &request(rows.account), verb).await.unwrap();
        }
    };
    "subscriptions::replace_card" => |conn, rows| {
        subscriptions::replace_card(conn, &request(rows.account), &new_card(), &rows.shop.cipher).await.unwrap()
    };
    "subscriptions::replaced_before" => |conn, rows| {
        subscriptions::replaced_before(conn, &request(rows.account), &new_card()).await.unwrap()
    };
    "tariffs::get" => |conn, _rows| tariffs::get(conn, month(), noon()).await.unwrap();
    "tariffs::list" => |conn, _rows| tariffs::list(conn, noon()).await.unwrap();
    "tariffs::price_list" => |conn, _rows| tariffs::price_list(conn, [month()]).await.unwrap();
    "tariffs::set_on_sale" => |conn, _rows| tariffs::set_on_sale(conn, month(), false, noon()).await.unwrap();
    "tariffs::set_price" => |conn, _rows| tariffs::set_price(conn, coming_price(), Duration::days(1), noon()).await.unwrap();
    "tariffs::set_two_stages" => |conn, _rows| tariffs::set_two_stages(conn, month(), Some(3), noon()).await.unwrap();
    "tariffs::set_trial" => |conn, _rows| {
        let trial = Trial { days: 7, amount: Kopecks::new(100), currency: Currency::RUB };
        tariffs::set_trial(conn, month(), Some(trial), noon()).await.unwrap();
    };
    "tariffs::withdraw_price" => |conn, _rows| {
        let effective_from = coming_price().effective_from;
        tariffs::withdraw_price(conn, month(), effective_from, noon()).await.unwrap()
    };
    "tariffs::seed" => |conn, _rows| tariffs::seed(conn, &tariffs::defaults(), noon()).await.unwrap();
};

/// A few rows among very many, each with something that is to be done.
struct Rows {
    shop: Shop,
    account: AccountId,
    accounts: Vec<AccountId>,
    paid: PaymentView,
    created: PaymentId,
    sending: PaymentView,
    /// Being charged.
    renewal: PaymentId,
    on_the_page: PaymentView,
    answered: PaymentId,
    doubtful: PaymentId,
}

impl Rows {
    /// What is kept of the account's card.
    async fn token(&self, conn: &mut AsyncPgConnection) -> String {
        let token = format!("select payment_token as name from account where id = '{}'", self.account);
        names(conn, &token).await.remove(0)
    }

    /// A new account begins a trial.
    async fn tries(&self, conn: &mut AsyncPgConnection) {
        let (account, cipher) = (AccountId::new(), &self.shop.cipher);
        accounts::register(conn, account, Tz::Europe__Moscow, noon()).await.unwrap();
        let trial = Some(Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB });
        let tried = payments::create(conn, NewPayment { trial, ..purchase(account) }, cipher).await.unwrap().payment;
        payments::begin_sending(conn, tried.id, cipher, noon()).await.unwrap();
        let card = CardMask { fingerprint: Some("a card".into()), ..CardMask::default() };
        let held = Outcome::Authorized {
            transaction_id: 78,
            token: Some("tk_78".into()),
            amount: tried.amount,
            currency: tried.currency,
            card: Some(card),
        };
        payments::apply(conn, tried.id, held, cipher, noon()).await.unwrap();
    }

    async fn among_many() -> Self {
        let shop = Shop::open().await;
        let many = include_str!("../subscribers.sql").replace(":n", SUBSCRIBERS);
        let many = many.replace(":last", &format!("'{}'", noon().to_rfc3339()));
        shop.conn().await.batch_execute(&format!("begin; {many} commit; {MORE}")).await.unwrap();

        let account = shop.subscribed(month(), 1).await;
        let mut conn = shop.conn().await;
        let paid = subscriptions::payments(&mut conn, account, None, 1).await.unwrap().unwrap().rows.remove(0);
        let accounts = accounts::access_after(&mut conn, None, noon(), FEW).await.unwrap();
        drop(conn);
        let closed = shop.subscribed(month(), 3).await;
        subscriptions::close(&mut *shop.conn().await, &request(closed), true).await.unwrap();
        let created = shop.created().await.id;
        let sending = shop.created().await;
        shop.send(sending.id, noon()).await;
        let renewed = shop.subscribed(month(), 2).await;
        let due = format!(
            "update account set next_charge_at = '2026-01-01', paid_until = '{0}' where id = '{renewed}'",
            noon().to_rfc3339()
        );
        shop.sql(&due).await.unwrap();
        let renewal = renewals::open_due(&mut *shop.conn().await, noon(), 1).await.unwrap().payments[0];
        shop.send(renewal, noon()).await;
        let answered = shop.on_the_bank_page().await.id;
        shop.answer(answered, noon()).await;
        shop.sql(&format!("update payment set transaction_id = 99 where id = '{answered}'")).await.unwrap();
        let on_the_page = shop.on_the_bank_page().await;
        let doubtful = shop.created().await.id;
        shop.charge(doubtful, unknown(noon()), noon()).await;
        let accounts = accounts.into_iter().map(|(id, _)| id).collect();
        Self { shop, account, accounts, paid, created, sending, renewal, on_the_page, answered, doubtful }
    }

    async fn look(&self, conn: &mut AsyncPgConnection) -> Resolve {
        payments::begin_resolving(conn, self.doubtful, noon(), noon() + minutes(2)).await.unwrap()
    }

    async fn refund(&self, conn: &mut AsyncPgConnection, kopecks: i64) -> RefundId {
        let ask = Ask {
            payment_id: self.paid.id,
            amount: Some(Kopecks::new(kopecks)),
            effect: Some(AccessEffect::End),
            reason: "a test".into(),
            who: "anna".into(),
            role: "accountant".into(),
            client: "panel".into(),
            idempotency_key: PaymentId::new().to_string(),
            now: noon(),
        };
        refunds::request(conn, &ask).await.unwrap().refund.id
    }

    /// The paid one's receipt was never made.
    async fn is_without_a_receipt(&self, conn: &mut AsyncPgConnection) {
        let (id, due) = (self.paid.id, noon() - minutes(90));
        let text = format!(
            "insert into receipt (id, payment_id, created_at, amount, due_at) values ('{id}', '{id}', '{due}', 100, '{due}')"
        );
        diesel::sql_query(text).execute(conn).await.unwrap();
    }

    async fn ordered_receipt(&self, conn: &mut AsyncPgConnection) -> ReceiptId {
        self.is_without_a_receipt(conn).await;
        receipts::order_missing(conn, self.paid.id, "anna", noon()).await.unwrap()[0]
    }

    async fn receipt_sent(&self, conn: &mut AsyncPgConnection) -> RegisterOrder {
        let (id, cipher) = (self.ordered_receipt(conn).await, &self.shop.cipher);
        let sale = receipts::sale_ordered(conn, id).await.unwrap().expect("not written down yet");
        receipts::keep(conn, &sale, &"receipt".into(), cipher, noon()).await.unwrap();
        let policy = ResolvePolicy::default();
        match receipts::begin_order(conn, id, cipher, &policy, noon(), noon()).await.unwrap() {
            BeginOrder::Send(order) => *order,
            other => panic!("{other:?}"),
        }
    }

    async fn refund_sent(&self, conn: &mut AsyncPgConnection) -> RefundId {
        let id = self.refund(conn, 39_900).await;
        let begun = refunds::begin(conn, id, noon(), noon()).await.unwrap();
        assert!(matches!(begun, BeginRefund::Send(_)), "{begun:?}");
        id
    }

    fn gateway_refund(&self) -> GatewayRefund {
        GatewayRefund {
            gateway_tx_id: 79,
            payment_tx_id: self.paid.transaction_id,
            invoice_id: None,
            account_id: None,
            json_data: None,
            amount: self.paid.amount,
        }
    }

    /// A Pay of the payment that is on its way.
    fn notification(&self) -> Received {
        let PaymentView { id, invoice_no, account_id, amount, .. } = &self.sending;
        let notice = Notice {
            transaction_id: Some(77),
            invoice_id: Some(invoice_no.to_string()),
            account_id: Some(account_id.to_string()),
            ids: Some(Ids { payment_id: Some(id.to_string()), ..Ids::default() }),
            amount: Some(amount.get()),
            currency: Some("RUB".into()),
            test_mode: Some(true),
            status: Some("Completed".into()),
            ..Notice::default()
        };
        let key = NoticeKey { kind: NoticeKind::Pay, gateway_id: "77".into(), body_sha256: [7; 32] };
        Received { key, notice, token: Some("tk_0001".into()) }
    }

    fn orphan(&self) -> Orphan {
        Orphan {
            payment_id: Some(self.paid.id),
            transaction_id: 5,
            what: "amount".into(),
            status: Some("Completed".into()),
            invoice_id: None,
            account_id: None,
            amount: Some(Kopecks::new(100)),
            currency: Some("RUB".into()),
            test_mode: None,
        }
    }

    fn entry(&self) -> Entry {
        ledger::set_aside(6, Kopecks::new(100), Currency::RUB, noon(), Tz::Europe__Moscow)
    }

    async fn ended_call(&self, conn: &mut AsyncPgConnection) -> Ended {
        let call = gateway_calls::begin(conn, self.sending.id, "/payments/find", None, noon()).await.unwrap();
        Ended { call, outcome: CallOutcome::Ok, http_status: Some(200), request: None, response: None }
    }

    async fn change_a_rule(&self, conn: &mut AsyncPgConnection) -> i64 {
        let (mut rules, _) = declines::all(conn).await.unwrap();
        let rule = rules.iter_mut().find(|rule| rule.code == 5051).unwrap();
        rule.max_retries = 1;
        declines::set_rule(conn, rule, &self.author()).await.unwrap()
    }

    /// A run of a month, as far as this.
    async fn run(&self, conn: &mut AsyncPgConnection, phase: Phase) -> Run {
        let range = Range { from: noon() - Duration::days(31), to: noon() + Duration::days(31) };
        let run = reconciliation::ask(conn, RunKind::Asked, range, "anna", noon()).await.unwrap();
        let moving = format!("update reconciliation set phase = '{phase}' where id = '{}'", run.id);
        diesel::sql_query(moving).execute(conn).await.unwrap();
        Run { phase, ..run }
    }

    /// One that was found, and the run that has seen it.
    async fn difference(&self, conn: &mut AsyncPgConnection) -> (Run, DifferenceId) {
        let (run, id) = (self.run(conn, Phase::Settling).await, DifferenceId::new());
        let found = format!(
            "insert into difference (id, kind, subject, created_at, found_by, seen_at, seen_by, at, payment_id, state)
             values ('{id}', 'status', 'transaction:1', now(), '{0}', now(), '{0}', now(), '{1}', 'open')",
            run.id, self.paid.id
        );
        diesel::sql_query(found).execute(conn).await.unwrap();
        (run, id)
    }

    fn listed(&self) -> Listed {
        Listed {
            transaction_id: 1_000_000_007,
            created_at: noon(),
            operation: ListedOperation::Payment,
            status: Some("Completed"),
            amount: Some(1),
            currency: Some("RUB".to_owned()),
            invoice_id: Some("7".to_owned()),
            account_id: Some(self.account.to_string()),
            payment_id: Some(self.paid.id),
            bill_id: None,
            original_id: None,
            refunded: None,
            test_mode: Some(true),
            on_our_terminal: true,
            payout_on: None,
            payout_amount: None,
        }
    }

    fn closing_rules(&self) -> ClosingRules<'_> {
        ClosingRules { not_executed_after: minutes(0), zone: Tz::Europe__Moscow, cipher: &self.shop.cipher }
    }

    async fn closing_preview(&self, conn: &mut AsyncPgConnection) -> ClosingPreview {
        let (rules, evidence) = (self.closing_rules(), found_nowhere());
        staff::preview_closing(conn, self.doubtful, &evidence, rules, noon()).await.unwrap()
    }

    /// A closing of what is on its way, that waits for somebody to agree.
    async fn asked_closing(&self, conn: &mut AsyncPgConnection) -> Uuid {
        let digest = self.closing_preview(conn).await.digest;
        let ask = AskClosing { id: Uuid::now_v7(), payment_id: self.doubtful, evidence: found_nowhere() };
        staff::ask_closing(conn, &ask, &digest, self.closing_rules(), &by(), noon()).await.unwrap();
        ask.id
    }

    async fn a_notification(&self, conn: &mut AsyncPgConnection) -> NoticeKey {
        let received = self.notification();
        notifications::receive(conn, &received, &self.shop.cipher, noon()).await.unwrap();
        received.key
    }

    fn author(&self) -> Author {
        Author { actor: "chief".into(), reason: "a test".into(), now: noon() }
    }
}

fn by() -> By {
    By::command_line("a test")
}

fn an_identity() -> Identity {
    Identity { issuer: "https://sso.example".to_owned(), subject: "00u1".to_owned() }
}

async fn add_ada(conn: &mut AsyncPgConnection) -> Staff {
    staff::add(conn, "ada", Role::Support, "hash", &by(), noon()).await.unwrap()
}

async fn save_view(conn: &mut AsyncPgConnection) -> (Staff, SavedView) {
    let ada = add_ada(conn).await;
    let (list, name, query) = ("payments".to_owned(), "in doubt".to_owned(), "state=unknown".to_owned());
    let view = SavedView { id: uuid::Uuid::now_v7(), list, name, query };
    assert!(staff::save_view(conn, ada.id, &view, noon()).await.unwrap());
    (ada, view)
}

async fn set_sale(conn: &mut AsyncPgConnection) -> uuid::Uuid {
    let ada = add_ada(conn).await;
    let setting = Setting::Sale { tariff_id: month(), is_active: false };
    let (notice, id) = (Duration::days(1), uuid::Uuid::now_v7());
    let digest = staff::preview_setting(conn, &setting, notice, noon()).await.unwrap().digest;
    let (reason, by) = ("sold out".to_owned(), by());
    let order = SettingOrder { id, setting, takes_back: None, digest, reason, staff_id: ada.id, by, notice };
    assert_eq!(staff::set(conn, &order, noon()).await.unwrap(), SettingDone::Now);
    id
}

async fn begin_session(conn: &mut AsyncPgConnection) -> (Staff, SessionKey) {
    let ada = add_ada(conn).await;
    let cookie = staff::begin(conn, ada.id, "192.0.2.1", "a browser", noon()).await.unwrap();
    (ada, SessionKey::of(&cookie))
}

fn extend(account_id: AccountId) -> Action {
    Action { kind: ActionKind::Extend, account_id, days: 3, tariff_id: None }
}

/// An action on many rows that is over.
const MANY: Uuid = Uuid::from_u128(11);

fn found_nowhere() -> Evidence {
    Evidence {
        ending: Ending::NotTaken,
        transaction_id: None,
        happened_on: None,
        amount: None,
        reason_code: None,
        said: "neither by number nor in the list".into(),
    }
}

/// The payments of this run of the tests, given back; and who has prepared it.
async fn a_draft(conn: &mut AsyncPgConnection) -> (Bulk, By) {
    let ada = By::staff(&add_ada(conn).await, "192.0.2.1");
    let made = Made { from: Some(clock::now() - hours(2)), before: Some(clock::now() + hours(2)) };
    let of = PaymentFilter { state: Some(PaymentState::Succeeded), made, ..PaymentFilter::default() };
    let ask = BulkAsk::Refund { effect: AccessEffect::Keep, of };
    let made = staff::freeze_bulk(conn, Uuid::now_v7(), ask, "", &ada, noon()).await.unwrap();
    (made, ada)
}

async fn a_running_bulk(conn: &mut AsyncPgConnection) -> (Bulk, By) {
    let (made, ada) = a_draft(conn).await;
    staff::ask_bulk(conn, made.id, "an outage", &ada, noon()).await.unwrap();
    let boris = By::command_line("boris");
    (staff::tell_bulk(conn, made.id, BulkWord::Approve, &boris, noon()).await.unwrap(), ada)
}

async fn an_errand(conn: &mut AsyncPgConnection, digest: String) -> Errand {
    let staff_id = add_ada(conn).await.id;
    Errand { id: Uuid::now_v7(), digest, reason: "a test".into(), staff_id, by: by() }
}

fn panel_ask(rows: &Rows) -> Ask {
    Ask {
        payment_id: rows.paid.id,
        amount: None,
        effect: None,
        reason: "a test".into(),
        who: "ada".into(),
        role: "chief_accountant".into(),
        client: "admin panel".into(),
        idempotency_key: PaymentId::new().to_string(),
        now: noon(),
    }
}

fn today() -> Made {
    Made { from: Some(noon() - hours(12)), before: Some(noon() + hours(12)) }
}

fn coming_price() -> TariffPrice {
    let effective_from = noon() + Duration::days(2);
    TariffPrice { tariff_id: month(), effective_from, amount: Kopecks::new(49_900), currency: Currency::RUB }
}

fn new_card() -> NewCard {
    NewCard { cryptogram: "another".into(), ip_address: [203, 0, 113, 8].into(), pay_debt: true }
}

fn request(account_id: AccountId) -> Request {
    let idempotency_key = PaymentId::new().to_string();
    Request { account_id, client: "frontend".into(), idempotency_key, now: noon() }
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

async fn names(conn: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let names: Vec<Name> = diesel::sql_query(query).load(conn).await.unwrap();
    names.into_iter().map(|row| row.name).collect()
}

/// Large tables, and how often each was read from end to end within this transaction.
const READS: &str = "
    select c.relname || ' ' || coalesce(s.seq_scan, 0) as name from pg_stat_xact_user_tables s join pg_class c on c.oid = s.relid
    where c.reltuples >= 1000 order by 1";

struct Undo(Vec<String>);

impl From<diesel::result::Error> for Undo {
    fn from(error: diesel::result::Error) -> Self {
        panic!("{error}")
    }
}

/// Makes a call and undoes it. Returns the large tables that it read from end to end.
async fn read_whole(rows: &Rows, call: Call) -> Vec<String> {
    let mut conn = rows.shop.conn().await;
    let made = conn.transaction::<(), Undo, _>(async |conn| {
        let before = names(conn, READS).await;
        call(conn, rows).await;
        // What waits for the commit is done too.
        conn.batch_execute("set constraints all immediate").await.unwrap();
        let after = names(conn, READS).await;
        Err(Undo(after.into_iter().filter(|table| !before.contains(table)).collect()))
    });
    let Err(Undo(read)) = made.await else { unreachable!("it is undone") };
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_a_large_table_from_end_to_end() {
    let rows = Rows::among_many().await;
    let few = "select c.relname::text as name from pg_class c
               where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.reltuples < 1000
               and c.relname !~ '^(event|gateway_call)_(default|\\d{4}_\\d{2})$' order by 1";
    let few = names(&mut *rows.shop.conn().await, few).await;
    let unexpected: Vec<_> = few.iter().filter(|table| !SMALL.contains(&table.as_str())).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}: give them rows here (MORE), or say that they stay SMALL");

    let unindexed: &[(&str, Call)] = calls! {
        "by no index" => |conn, _rows| names(conn, "select id::text as name from account where declines = 7").await;
    };
    let read = read_whole(&rows, unindexed[0].1).await;
    assert!(matches!(&read[..], [table] if table.starts_with("account ")), "this would be seen: {read:?}");

    let mut whole = Vec::new();
    for (name, call) in CALLS {
        let read = read_whole(&rows, *call).await;
        if !read.is_empty() {
            whole.push(format!("{name}: {}", read.join(", ")));
        }
    }
    assert!(whole.is_empty(), "tables read from end to end: {whole:#?}");
}

/// A new function of the store is called above too.
#[test]
fn every_function_of_the_store_is_called() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut functions = BTreeSet::new();
    collect(&store, None, &mut functions);
    let called: BTreeSet<String> = CALLS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> = functions.difference(&called).filter(|name| !WHOLE.contains(&name.as_str())).collect();
    let gone: Vec<_> = called.difference(&functions).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not called: {missing:?}; not in the store: {gone:?}");
}

/// `payments::create` for `pub async fn create` anywhere under `payments`.
fn collect(folder: &Path, module: Option<&str>, functions: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = module.unwrap_or(stem);
        if path.is_dir() {
            collect(&path, Some(module), functions);
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let Some(rest) = line.trim_start().strip_prefix("pub async fn ") else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            functions.insert(format!("{module}::{name}"));
        }
    }
}
