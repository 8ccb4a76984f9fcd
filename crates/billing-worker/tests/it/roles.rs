//! The push of roles, to an auth service with bad days.

use std::collections::HashMap;
use std::time::Duration;

use billing::event::{EventKind, NewEvent};
use billing::payment::PaymentState;
use billing::store::roles::BASE_USER;
use billing::store::{events, tariffs};
use billing::{AccountId, clock};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::NamedTempFile;
use testkit::{AuthService, Conduct};

use crate::world::{PAYS, SOON, World};

impl World {
    /// A worker that tells roles to this auth service.
    async fn telling(auth: &AuthService, settings: &[&str]) -> Self {
        let url = auth.url();
        Self::with(&[&["--auth-url", url.as_str()], settings].concat()).await
    }

    /// The subscriptions of these accounts begin, with this tariff, or end (`None`).
    async fn change(&self, changes: impl Iterator<Item = (AccountId, Option<usize>)>) {
        let on_sale = tariffs::defaults();
        let told = changes.map(|(account, tariff)| match tariff {
            Some(tariff) => NewEvent::of_account(EventKind::AccessGranted, account)
                .with("tariff_id", on_sale[tariff].id.to_string()),
            None => NewEvent::of_account(EventKind::AccessEnded, account),
        });
        let mut conn = self.services.db.conn().await.unwrap();
        events::append(&mut conn, told.collect(), clock::now()).await.unwrap();
        self.services.bell.ring();
    }
}

fn name(tariff: Option<usize>) -> String {
    tariff.map_or(BASE_USER.to_owned(), |tariff| tariffs::defaults()[tariff].name.clone())
}

/// Waits until the auth service has this role of each account.
async fn come_to(auth: &AuthService, within: Duration, wanted: &HashMap<AccountId, String>) {
    testkit::eventually(within, async || {
        let differs = |(account, role): &(&AccountId, &String)| {
            auth.role(&account.to_string()).is_none_or(|(known, _)| known != **role)
        };
        let missing: Vec<_> = wanted.iter().filter(differs).take(3).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} after {} calls", auth.calls())) }
    })
    .await;
}

/// Two workers tell them, and the auth service fails a third of the calls; of these some are late, and land behind their
/// successors, and some were taken without an acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_changes_over_500_accounts_end_with_the_last_role_of_each_in_order() {
    let auth = AuthService::start().await;
    // 1 in 4, and 1 in 12 of the rest is late.
    auth.behave(Conduct { fails_every: 4, late_every: 11, late_by: Duration::from_secs(2), ..Conduct::default() });
    let settings = ["--roles-timeout", "500ms", "--roles-max-in-flight", "50"];
    let world = World::telling(&auth, &settings).await;
    let other = world.another("two@test");
    let accounts: Vec<AccountId> = (0..500).map(|_| AccountId::new()).collect();
    let mut last = HashMap::new();
    for round in 0..20_usize {
        let changes: Vec<_> = accounts
            .iter()
            .enumerate()
            .map(|(n, account)| {
                let tariff = (round * 7 + n * 3 + n / 5) % 4;
                (*account, (tariff < 3).then_some(tariff))
            })
            .collect();
        last.extend(changes.iter().map(|(account, tariff)| (*account, name(*tariff))));
        world.change(changes.into_iter()).await;
    }
    come_to(&auth, SOON, &last).await;
    assert_eq!(auth.broken(), Vec::<String>::new(), "a version came after a higher one");
    assert!(auth.failed() * 4 > auth.calls(), "{} of {} failed", auth.failed(), auth.calls());
    other.abort();
}

/// C31: what follows a success fails; the payment stays as it is, and only what follows is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_fails_leaves_the_payment_succeeded_and_is_made_again() {
    let auth = AuthService::start().await;
    auth.behave(Conduct { fails_always: true, ..Conduct::default() });
    let world = World::telling(&auth, &["--auth-token", "from-billing"]).await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    testkit::eventually(SOON, async || auth.calls() >= 3).await;
    assert_eq!(auth.role(&payment.account_id.to_string()), None);
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Succeeded);
    auth.behave(Conduct::default());
    come_to(&auth, SOON, &HashMap::from([(payment.account_id, name(Some(1)))])).await;
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Succeeded);
    world.assert_charged(payment.account_id, 1).await;
    assert_eq!(auth.authorization().as_deref(), Some("Bearer from-billing"));
}

/// The auth service dies and comes back; meanwhile the worker is replaced. Nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn changes_while_the_auth_service_or_the_worker_is_away_are_told_afterwards() {
    let mut auth = AuthService::start().await;
    let world = World::telling(&auth, &["--roles-timeout", "500ms"]).await;
    let accounts: Vec<AccountId> = (0..20).map(|_| AccountId::new()).collect();
    world.change(accounts.iter().map(|account| (*account, Some(0)))).await;
    come_to(&auth, SOON, &accounts.iter().map(|account| (*account, name(Some(0)))).collect()).await;
    auth.die().await;
    world.change(accounts.iter().map(|account| (*account, Some(1)))).await;
    world.stop();
    world.change(accounts.iter().take(10).map(|account| (*account, None))).await;
    auth.live().await;
    let other = world.another("two@test");
    let role = |n| if n < 10 { name(None) } else { name(Some(1)) };
    come_to(&auth, SOON, &accounts.iter().enumerate().map(|(n, account)| (*account, role(n))).collect()).await;
    assert_eq!(auth.broken(), Vec::<String>::new());
    other.abort();
}

/// A call that never ends holds up nobody but its own account, and no more calls are open than was said.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_stuck_holds_up_no_other_and_calls_at_once_are_bounded() {
    let auth = AuthService::start().await;
    auth.behave(Conduct { slow: Duration::from_millis(30), ..Conduct::default() });
    let world = World::telling(&auth, &["--roles-max-in-flight", "4", "--roles-timeout", "20s"]).await;
    let accounts: Vec<AccountId> = (0..40).map(|_| AccountId::new()).collect();
    world.change(accounts.iter().map(|account| (*account, Some(0)))).await;
    come_to(&auth, SOON, &accounts.iter().map(|account| (*account, name(Some(0)))).collect()).await;
    assert_eq!(auth.open_at_most(), 4);

    auth.behave(Conduct { late_every: 1, late_by: Duration::from_secs(60), ..Conduct::default() });
    let (stuck, called) = (AccountId::new(), auth.calls());
    world.change([(stuck, Some(0))].into_iter()).await;
    testkit::eventually(SOON, async || auth.calls() > called).await;
    auth.behave(Conduct::default());
    world.change(accounts.iter().map(|account| (*account, None))).await;
    come_to(&auth, Duration::from_secs(15), &accounts.iter().map(|account| (*account, name(None))).collect()).await;
    assert_eq!(auth.role(&stuck.to_string()), None);
}

/// Its client gave it up long ago: the version keeps it from undoing what was told meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_lands_behind_its_successor_changes_nothing() {
    let auth = AuthService::start().await;
    auth.behave(Conduct { late_every: 1, late_by: Duration::from_secs(2), ..Conduct::default() });
    let world = World::telling(&auth, &["--roles-timeout", "300ms"]).await;
    let account = AccountId::new();
    world.change([(account, Some(0))].into_iter()).await;
    testkit::eventually(SOON, async || auth.calls() > 0).await;
    auth.behave(Conduct::default());
    world.change([(account, None)].into_iter()).await;
    come_to(&auth, SOON, &HashMap::from([(account, name(None))])).await;
    testkit::eventually(SOON, async || auth.overtaken() > 0).await;
    assert_eq!(auth.role(&account.to_string()).map(|(role, _)| role), Some(name(None)));
}

/// Two workers have room for four calls each, and there are four together.
#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_are_bounded_over_all_workers() {
    let auth = AuthService::start().await;
    auth.behave(Conduct { slow: Duration::from_millis(30), ..Conduct::default() });
    let world = World::telling(&auth, &["--roles-max-in-flight", "4"]).await;
    let others = [world.another("two@test"), world.another("three@test")];
    let accounts: Vec<AccountId> = (0..120).map(|_| AccountId::new()).collect();
    world.change(accounts.iter().map(|account| (*account, Some(0)))).await;
    come_to(&auth, SOON, &accounts.iter().map(|account| (*account, name(Some(0)))).collect()).await;
    assert_eq!(auth.open_at_most(), 4);
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

/// An authority.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_roles_are_told_to_whom_the_given_authority_has_signed_and_to_nobody_else() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (ours, stranger) = (authority(), authority());
    let (certificate, key) = {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &ours).unwrap().pem(), key.serialize_pem())
    };
    let auth = AuthService::start_with_tls(&certificate, &key).await;
    let file = NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (trusted, is_told) in [(&stranger, false), (&ours, true)] {
        std::fs::write(path, trusted.pem()).unwrap();
        let world = World::telling(&auth, &["--auth-tls-ca", path]).await;
        let account = AccountId::new();
        world.change([(account, Some(0))].into_iter()).await;
        if is_told {
            come_to(&auth, SOON, &HashMap::from([(account, name(Some(0)))])).await;
        } else {
            let tried = "role_push where tries > 1 and last_error is not null and acknowledged = 0";
            testkit::eventually(SOON, async || world.count(tried).await == 1).await;
            assert_eq!(auth.calls(), 0, "nothing is said to whom nobody vouches for");
        }
    }
}
