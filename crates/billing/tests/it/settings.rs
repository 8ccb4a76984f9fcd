//! What the staff set is what was shown, is set once, and is taken back by another change.

use billing::decline::DeclineGroup;
use billing::models::{TariffPrice, Trial};
use billing::staff::{Role, StaffId};
use billing::store::refunds::Limit;
use billing::store::staff::{self, By, Setting, SettingDone, SettingError, SettingOrder};
use billing::store::tariffs::SetPriceError;
use billing::store::{declines, tariffs};
use billing::{Currency, Kopecks};
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, month};
use crate::support::{hours, noon};

const NOTICE: Duration = Duration::days(30);

fn dearer(after: Duration) -> Setting {
    let (tariff_id, effective_from) = (month(), noon() + after);
    Setting::Price(TariffPrice { tariff_id, effective_from, amount: Kopecks::new(49_900), currency: Currency::RUB })
}

struct Office {
    shop: Shop,
    ada: StaffId,
}

impl Office {
    async fn open() -> Self {
        let shop = Shop::open().await;
        let by = By::command_line("a test");
        let ada = staff::add(&mut *shop.conn().await, "ada", Role::ChiefAccountant, "hash", &by, noon()).await;
        Self { ada: ada.unwrap().id, shop }
    }

    async fn order(&self, setting: Setting, now: DateTime<Utc>) -> Result<SettingOrder, SettingError> {
        let digest = staff::preview_setting(&mut *self.shop.conn().await, &setting, NOTICE, now).await?.digest;
        Ok(SettingOrder {
            id: uuid::Uuid::now_v7(),
            setting,
            takes_back: None,
            digest,
            reason: "decided on Monday".into(),
            staff_id: self.ada,
            by: By::command_line("a test"),
            notice: NOTICE,
        })
    }

    async fn set(&self, order: &SettingOrder, now: DateTime<Utc>) -> Result<SettingDone, SettingError> {
        staff::set(&mut *self.shop.conn().await, order, now).await
    }

    /// What takes the change of an order back.
    async fn inverse(&self, order: &SettingOrder, now: DateTime<Utc>) -> SettingOrder {
        let change = staff::setting_change_of(&mut *self.shop.conn().await, order.id).await.unwrap().unwrap();
        let inverse = self.order(change.inverse().expect("it can be taken back"), now).await.unwrap();
        SettingOrder { takes_back: Some(change.id), ..inverse }
    }

    /// All that can be set, to see whether anything has changed.
    async fn all(&self) -> String {
        let mut all = String::new();
        for table in ["tariff_price", "decline_schedule", "decline_rule", "refund_limit"] {
            let rows = self.shop.text(&format!("select json_agg(t order by t) from {table} t")).await;
            all.push_str(&rows.unwrap_or_default());
        }
        let tariffs = "select json_agg((id, is_active, two_stages, confirm_after, trial_days, trial_amount) order by id) from tariff";
        all + &self.shop.text(tariffs).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_set_is_taken_back_to_what_was() {
    let office = Office::open().await;
    let rule = declines::ruling(&mut *office.shop.conn().await, 5051).await.unwrap().rule;
    let trial = Trial { days: 3, amount: Kopecks::new(100), currency: Currency::RUB };
    let limit = Limit { role: "accountant".into(), alone: Kopecks::new(100), approves: Kopecks::ZERO };
    for setting in [
        dearer(NOTICE + hours(1)),
        Setting::Trial { tariff_id: month(), trial: Some(trial) },
        Setting::Trial { tariff_id: month(), trial: None },
        Setting::Stages { tariff_id: month(), confirm_after: Some(3) },
        Setting::Sale { tariff_id: month(), is_active: false },
        Setting::Schedule { group: DeclineGroup::Soft, hours: vec![48] },
        Setting::Rule(billing::decline::Rule { max_retries: 1, ..rule }),
        Setting::Limit(limit),
    ] {
        let before = office.all().await;
        let order = office.order(setting.clone(), noon()).await.unwrap();
        assert_eq!(office.all().await, before, "a preview of {setting:?} changes nothing");
        assert_eq!(office.set(&order, noon()).await.unwrap(), SettingDone::Now, "{setting:?}");
        assert_ne!(office.all().await, before, "{setting:?}");
        assert_eq!(office.set(&order, noon()).await.unwrap(), SettingDone::Before, "the same form does it once");
        let again = office.order(setting.clone(), noon()).await;
        let is_refused = matches!(
            again,
            Err(SettingError::AlreadySo
                | SettingError::Decline(declines::ChangeError::NoChange)
                | SettingError::Price(SetPriceError::NotTheLast(_)))
        );
        assert!(is_refused, "{setting:?}: {again:?}");
        let inverse = office.inverse(&order, noon()).await;
        assert_eq!(office.set(&inverse, noon()).await.unwrap(), SettingDone::Now, "{setting:?} is taken back");
        assert_eq!(office.all().await, before, "{setting:?}");
        let twice = SettingOrder { id: uuid::Uuid::now_v7(), ..inverse };
        let twice = office.set(&twice, noon()).await;
        assert!(matches!(twice, Err(SettingError::ChangedSince)), "{setting:?}: {twice:?}");
    }
    assert_eq!(office.shop.count("audit_log where action = 'setting'").await, 16, "each has its line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_announced_in_time_and_stays_once_it_is_in_force() {
    let office = Office::open().await;
    let soon = office.order(dearer(NOTICE - hours(1)), noon()).await;
    assert!(matches!(soon, Err(SettingError::Price(SetPriceError::TooSoon { .. }))), "{soon:?}");

    let order = office.order(dearer(NOTICE), noon()).await.unwrap();
    office.set(&order, noon()).await.unwrap();
    let later = noon() + NOTICE + hours(1);
    let change = staff::setting_change_of(&mut *office.shop.conn().await, order.id).await.unwrap().unwrap();
    let withdrawn = office.order(change.inverse().unwrap(), later).await;
    assert!(matches!(withdrawn, Err(SettingError::NotToCome)), "{withdrawn:?}");
    let price = tariffs::get(&mut *office.shop.conn().await, month(), later).await.unwrap().unwrap().amount;
    assert_eq!(price, Kopecks::new(49_900));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_set_that_was_not_shown() {
    let office = Office::open().await;
    let limit = |alone| {
        Setting::Limit(Limit { role: "accountant".into(), alone: Kopecks::new(alone), approves: Kopecks::ZERO })
    };
    let (first, second) =
        (office.order(limit(100), noon()).await.unwrap(), office.order(limit(200), noon()).await.unwrap());
    office.set(&first, noon()).await.unwrap();
    let before = office.all().await;
    let changed = office.set(&second, noon()).await.unwrap();
    let SettingDone::Changed(shown) = changed else { panic!("{changed:?}") };
    assert_eq!(shown.before["alone"], 100, "it is shown as it is now");
    let reused = SettingOrder { digest: second.digest.clone(), setting: limit(200), ..first.clone() };
    let reused = office.set(&reused, noon()).await;
    assert!(matches!(reused, Err(SettingError::FormReused)), "{reused:?}");
    assert_eq!(office.all().await, before);
    let nobody = office
        .order(Setting::Limit(Limit { role: "support".into(), alone: Kopecks::ZERO, approves: Kopecks::ZERO }), noon())
        .await;
    assert!(matches!(nobody, Err(SettingError::Unknown { .. })), "{nobody:?}");
}
