//! Browsers: each sees its own account, and nothing of another's.

use std::time::Duration;

use billing::event::{EventKind as Kind, NewEvent};
use billing::{AccountId, clock, store};
use billing_api::Config;
use billing_api::proto::events_client::EventsClient;
use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::{
    CancelRequest, FILE_DESCRIPTOR_SET, GetBillRequest, GetPaymentRequest, GetSubscriptionRequest, ListBillsRequest,
    ListPaymentsRequest, WatchEventsRequest, WatchPaymentRequest,
};
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet, MethodDescriptorProto};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::auth_service::{AUDIENCE, ISSUER, Signer, key_set};
use crate::grpc_web::{framed, post_to};
use crate::refused::{refusal, refused};
use crate::worker::completed;
use crate::world::{CRYPTOGRAM, SOON, World, by};

const PAGE: &str = "https://cinema.example";

/// An API that takes the tokens of this signer.
pub(crate) async fn world_of(signer: &Signer, change: impl FnOnce(&mut Config)) -> World {
    let keys = key_set(&[signer]);
    World::with(|config| {
        trust(config, &keys);
        change(config);
    })
    .await
}

pub(crate) fn trust(config: &mut Config, keys: &str) {
    config.browsers.jwks = Some(keys.to_owned());
    config.browsers.jwt_issuer = Some(ISSUER.to_owned());
    config.browsers.jwt_audience = Some(AUDIENCE.to_owned());
}

/// What belongs to one account.
struct Belongings {
    account_id: String,
    payment_id: String,
    bill_id: String,
}

impl Belongings {
    /// Of somebody who has paid.
    async fn new(world: &World, signer: &Signer, transaction: i64) -> Self {
        let payment = world.payment().await;
        let mut paid = completed(payment.amount_kopecks);
        if let billing::payment::Outcome::Completed { transaction_id, .. } = &mut paid {
            *transaction_id = transaction;
        }
        world.charged(&payment.payment_id, paid).await;
        let list = ListBillsRequest { account_id: payment.account_id.clone(), ..Default::default() };
        let request = by(&signer.token(&payment.account_id), list);
        let bills = SubscriptionsClient::new(world.channel()).list_bills(request).await.expect("its own bills");
        let bill_id = bills.into_inner().bills[0].bill_id.clone();
        Self { account_id: payment.account_id, payment_id: payment.payment_id, bill_id }
    }

    /// Ids of nothing.
    fn of_nobody() -> Self {
        let id = || Uuid::now_v7().to_string();
        Self { account_id: id(), payment_id: id(), bill_id: id() }
    }
}

/// A method of the package and the message it takes.
struct Rpc {
    path: String,
    input: DescriptorProto,
}

/// Every method there is.
fn rpcs() -> Vec<Rpc> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("what protox compiled").file;
    let ours: Vec<_> = files.iter().filter(|file| file.package() == "billing.v1").collect();
    let message = |method: &MethodDescriptorProto| {
        let name = method.input_type().trim_start_matches(".billing.v1.");
        let found = ours.iter().flat_map(|file| &file.message_type).find(|message| message.name() == name);
        found.expect("a message of the package").clone()
    };
    let services = ours.iter().flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            let path = |method: &MethodDescriptorProto| format!("/billing.v1.{}/{}", service.name(), method.name());
            service.method.iter().map(move |method| (path(method), method))
        })
        .map(|(path, method)| Rpc { path, input: message(method) })
        .collect()
}

impl Rpc {
    /// Whether it asks for something by its id.
    fn has_id(&self) -> bool {
        let ids = ["account_id", "payment_id", "bill_id", "refund_id", "run_id", "difference_id"];
        self.input.field.iter().any(|field| ids.contains(&field.name()))
    }

    /// A sound message about these things.
    fn about(&self, whose: &Belongings, tariff_id: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in &self.input.field {
            let tag = u32::try_from(field.number()).expect("positive");
            let key = Uuid::new_v4().to_string();
            let text = match field.name() {
                "account_id" | "account_ids" => &whose.account_id,
                "payment_id" => &whose.payment_id,
                "bill_id" => &whose.bill_id,
                "refund_id" | "run_id" | "difference_id" => &key,
                "first_day" | "last_day" => "2026-11-01",
                "reason" | "actor" | "actor_role" => "staff",
                "tariff_id" => tariff_id,
                "idempotency_key" => &key,
                "card_cryptogram_packet" => CRYPTOGRAM,
                "ip_address" => "203.0.113.7",
                "md" => "504504",
                "pa_res" => "eJzVWNmSo8iS",
                // May be left out.
                "page_size" | "page_token" | "resume_token" | "kinds" | "trial" => continue,
                _ if matches!(field.r#type(), Type::Bool | Type::Int64 | Type::Enum) => {
                    prost::encoding::int64::encode(tag, &1, &mut bytes);
                    continue;
                }
                other => panic!("{}: what is a sound {other}? Say so here", self.path),
            };
            prost::encoding::string::encode(tag, &text.to_owned(), &mut bytes);
        }
        bytes
    }

    /// How a page with this token is refused; `None`: it is not.
    async fn refused(&self, world: &World, token: &str, message: &[u8]) -> Option<Status> {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("origin", PAGE), ("grpc-timeout", "5S")];
        let kind = "application/grpc-web+proto";
        let answer = post_to(&self.path, world, kind, framed(message), &headers).await;
        Status::from_header_map(answer.headers())
    }
}

/// What is asked by no id: it says nothing about anybody else.
const WITHOUT_ID: [&str; 2] = ["/billing.v1.Tariffs/ListTariffs", "/billing.v1.Events/Watch"];

#[tokio::test(flavor = "multi_thread")]
async fn no_method_says_anything_about_what_belongs_to_another() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |_| {}).await;
    let (own, others) = (Belongings::new(&world, &signer, 1).await, Belongings::new(&world, &signer, 2).await);
    let (token, tariff_id) = (signer.token(&own.account_id), world.tariff().await.tariff_id);
    let before = everything(&world).await;
    for rpc in rpcs() {
        let path = &rpc.path;
        let status = rpc.refused(&world, &token, &rpc.about(&others, &tariff_id)).await;
        if path.starts_with("/billing.v1.Access/")
            || path.starts_with("/billing.v1.Refunds/")
            || path.starts_with("/billing.v1.Reconciliation/")
        {
            let status = status.expect(path);
            assert_eq!(refusal(&status), refused(Code::PermissionDenied, "SCOPE_MISSING", &[]), "{path}");
        } else if rpc.has_id() {
            let status = status.unwrap_or_else(|| panic!("{path} serves whoever asks"));
            assert_eq!(status.code(), Code::NotFound, "{path}: {status:?}");
            // Not by a word can it be told from what does not exist.
            let nobody = Belongings::of_nobody();
            let missing = rpc.refused(&world, &token, &rpc.about(&nobody, &tariff_id)).await.expect(path);
            let mut words = format!("{missing:?} {}", String::from_utf8_lossy(missing.details()));
            let mut others_words = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
            for (id, others_id) in [
                (&nobody.account_id, &others.account_id),
                (&nobody.payment_id, &others.payment_id),
                (&nobody.bill_id, &others.bill_id),
            ] {
                words = words.replace(id.as_str(), "the id");
                others_words = others_words.replace(others_id.as_str(), "the id");
            }
            assert_eq!(without_details(&words), without_details(&others_words), "{path}");
        } else {
            assert!(WITHOUT_ID.contains(&&**path), "{path} asks by no id: what may a browser learn by it?");
            assert!(status.is_none(), "{path}: {status:?}");
        }
    }
    assert_eq!(everything(&world).await, before, "nothing was written");
}

/// `Debug` shows the details as numbers, and every request has an id of its own.
fn without_details(words: &str) -> String {
    let numbers = words.find("details: [").zip(words.find(']'));
    let without = match numbers {
        Some((from, to)) if from < to => format!("{}{}", &words[..from], &words[to..]),
        _ => words.to_owned(),
    };
    let metadata = without.find("metadata: MetadataMap").zip(without.rfind("source: "));
    metadata.map_or(without.clone(), |(from, to)| format!("{}{}", &without[..from], &without[to..]))
}

async fn everything(world: &World) -> (i64, i64, i64, String) {
    use diesel_async::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Text {
        #[diesel(sql_type = diesel::sql_types::Text)]
        value: String,
    }
    let (accounts, bills, payments) = world.rows().await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    let query = diesel::sql_query(
        "select md5(string_agg(t, '')) as value from (
             select a::text as t from account a union all select p::text from payment p
             union all select b::text from bill b order by 1) all_rows",
    );
    let digest = query.get_result::<Text>(&mut conn).await.expect("a digest").value;
    (accounts, bills, payments, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_served_about_its_own_account() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |_| {}).await;
    let own = Belongings::new(&world, &signer, 1).await;
    let Belongings { account_id, payment_id, bill_id } = own;
    let token = signer.token(&account_id);
    let mut subscriptions = SubscriptionsClient::new(world.channel());
    let get = GetSubscriptionRequest { account_id: account_id.clone() };
    subscriptions.get_subscription(by(&token, get)).await.expect("its subscription");
    let list = ListPaymentsRequest { account_id: account_id.clone(), ..Default::default() };
    let listed = subscriptions.list_payments(by(&token, list)).await.expect("its payments").into_inner();
    assert_eq!(listed.payments[0].payment_id, payment_id);
    subscriptions.get_bill(by(&token, GetBillRequest { bill_id })).await.expect("its bill");
    let get = GetPaymentRequest { payment_id: payment_id.clone() };
    world.payments().get_payment(by(&token, get)).await.expect("its payment");
    let watch = WatchPaymentRequest { payment_id };
    let mut watched = world.payments().watch_payment(by(&token, watch)).await.expect("a stream").into_inner();
    watched.message().await.expect("no error").expect("its payment");
    let cancel = CancelRequest { account_id, idempotency_key: Uuid::new_v4().to_string() };
    let cancelled = subscriptions.cancel(by(&token, cancel)).await.expect("cancelled").into_inner();
    assert!(cancelled.cancel_at_period_end);
}

/// Whoever guesses another's key learns nothing by it, and takes nothing away.
#[tokio::test(flavor = "multi_thread")]
async fn each_account_has_idempotency_keys_of_its_own() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |_| {}).await;
    let (first, second) = (world.order().await, world.order().await);
    let mut payments = Vec::new();
    for mut order in [first.clone(), second, first.clone()] {
        order.idempotency_key = "the-same".to_owned();
        let request = by(&signer.token(&order.account_id), order);
        payments.push(world.payments().create_payment(request).await.expect("created").into_inner().payment_id);
    }
    assert!(payments[0] != payments[1] && payments[0] == payments[2], "{payments:?}");
    for account_id in [&world.account().await, &first.account_id] {
        let request = CancelRequest { account_id: account_id.clone(), idempotency_key: "the-same".to_owned() };
        let cancelled = SubscriptionsClient::new(world.channel()).cancel(by(&signer.token(account_id), request)).await;
        let status = cancelled.expect_err("nothing was paid");
        assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "NO_SUBSCRIPTION", &["account_id"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_the_events_of_its_own_account_only() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |_| {}).await;
    let (own, others) = (world.account().await, world.account().await);
    let request = by(&signer.token(&own), WatchEventsRequest::default());
    let mut events = EventsClient::new(world.channel()).watch(request).await.expect("a stream").into_inner();
    let id = |text: &str| AccountId::from(text.parse::<Uuid>().expect("a UUID"));
    for (account, kind) in [(&others, Kind::AccessEnded), (&own, Kind::AccessEnds), (&others, Kind::AccessEnded)] {
        let mut conn = world.services.db.conn().await.expect("the database answers");
        let event = NewEvent::of_account(kind, id(account));
        store::events::append(&mut conn, vec![event], clock::now()).await.expect("written");
    }
    let about_its_own = NewEvent::of_account(Kind::AccessEnded, id(&own));
    let mut conn = world.services.db.conn().await.expect("the database answers");
    store::events::append(&mut conn, vec![about_its_own], clock::now()).await.expect("written");
    drop(conn);
    world.services.bell.ring();
    for kind in ["EVENT_KIND_ACCESS_ENDS", "EVENT_KIND_ACCESS_ENDED"] {
        let told = tokio::time::timeout(SOON, events.message()).await.expect("told").expect("no error");
        let told = told.expect("not the end");
        assert_eq!((told.kind().as_str_name(), &told.account_id), (kind, &own));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_refused_that_holds_the_token_of_a_service() {
    let world = world_of(&Signer::ed("ed-1"), |_| {}).await;
    for rpc in rpcs() {
        let status = rpc.refused(&world, crate::world::FRONTEND, &[]).await;
        let status = status.unwrap_or_else(|| panic!("{} serves a page with the token of a service", rpc.path));
        assert_eq!(refusal(&status), refused(Code::Unauthenticated, "SERVICE_TOKEN_OF_PAGE", &[]), "{}", rpc.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_takes_the_room_of_no_other() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |config| config.browsers.max_streams_per_account = 1).await;
    let (one, other) = (world.account().await, world.account().await);
    let open = async |account_id: &str| {
        let request = by(&signer.token(account_id), WatchEventsRequest::default());
        EventsClient::new(world.channel()).watch(request).await
    };
    let _first = open(&one).await.expect("the first stream");
    let status = open(&one).await.expect_err("the second");
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "TOO_MANY_STREAMS", &[]));
    open(&other).await.expect("another account has its own");
}

/// A token that was taken once does not open a stream for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_expires() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |_| {}).await;
    let account_id = world.account().await;
    let mut claims = crate::auth_service::claims(&account_id);
    // Two seconds are left of the leeway.
    claims["exp"] = (clock::now().timestamp() - 28).into();
    let token = signer.sign(&signer.header(), &claims);
    let request = by(&token, WatchEventsRequest::default());
    let mut events = EventsClient::new(world.channel()).watch(request).await.expect("a stream").into_inner();
    let ended = tokio::time::timeout(SOON, events.message()).await.expect("it ends").expect_err("with an error");
    assert_eq!(refusal(&ended), refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_this_machine_serves_a_laptop() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("browser-key");
    let key = billing_api::LocalKey::open_or_make(&file).expect("made");
    let world = World::with(|config| key.configure(&mut config.browsers)).await;
    let account_id = world.account().await;
    let again = billing_api::LocalKey::open(&file).expect("the same key");
    let id = AccountId::from(account_id.parse::<Uuid>().expect("a UUID"));
    let token = again.token(id, Duration::from_secs(60)).expect("a token");
    let get = GetSubscriptionRequest { account_id };
    let request = by(secrecy::ExposeSecret::expose_secret(&token), get);
    SubscriptionsClient::new(world.channel()).get_subscription(request).await.expect("its subscription");
}
