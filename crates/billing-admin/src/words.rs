//! States, kinds and roles in the words of the staff.

use billing::account::AccountStatus;
use billing::bill::{BillKind, BillStatus};
use billing::decline::DeclineGroup;
use billing::event::{EventKind, Source};
use billing::ledger::LedgerAccount;
use billing::notification::{NoticeEffect, NoticeKind};
use billing::payment::evidence::Ending;
use billing::payment::{Instrument, PaymentState};
use billing::receipt::ReceiptKind;
use billing::reconciliation::{DifferenceKind, DifferenceState};
use billing::refund::{AccessEffect, RefundSource, RefundState};
use billing::staff::Role;
use billing::store::gateway_calls::CallOutcome;
use billing::store::staff::{ActionKind, BulkState, ClosingState, ItemState, Refusal};

use crate::lang::Lang;
use crate::show::Pill;

const fn pill(kind: &'static str, shape: &'static str, word: &'static str) -> Pill {
    Pill { kind, shape, word }
}

pub(crate) const fn role(role: Role, lang: Lang) -> &'static str {
    match role {
        Role::Support => lang.of("support", "поддержка"),
        Role::Accountant => lang.of("accountant", "бухгалтер"),
        Role::ChiefAccountant => lang.of("chief accountant", "главный бухгалтер"),
        Role::Operator => lang.of("operator", "оператор"),
        Role::Auditor => lang.of("auditor", "аудитор"),
        Role::Administrator => lang.of("administrator of the staff", "администратор сотрудников"),
    }
}

pub(crate) const fn payment(state: PaymentState, lang: Lang) -> Pill {
    match state {
        PaymentState::Created => pill("idle", "○", lang.of("Waiting", "Ждёт")),
        PaymentState::Sending => pill("run", "▶", lang.of("Sending", "Отправляется")),
        PaymentState::AwaitingThreeDs => pill("run", "◷", lang.of("Bank page", "Страница банка")),
        PaymentState::PostingThreeDs => pill("run", "▶", lang.of("Passing on", "Передаётся")),
        PaymentState::Unknown => pill("doubt", "?", lang.of("Unknown", "Неизвестно")),
        PaymentState::Authorized => pill("run", "◐", lang.of("Held", "Удержано")),
        PaymentState::Succeeded => pill("ok", "✓", lang.of("Paid", "Оплачено")),
        PaymentState::SucceededDuplicate => pill("bad", "‼", lang.of("Paid twice", "Оплачено дважды")),
        PaymentState::Declined => pill("bad", "✕", lang.of("Declined", "Отклонено")),
        PaymentState::Rejected => pill("person", "■", lang.of("Our mistake", "Наша ошибка")),
        PaymentState::Abandoned => pill("idle", "–", lang.of("Not answered", "Без ответа")),
        PaymentState::NotExecuted => pill("idle", "–", lang.of("Never happened", "Не состоялось")),
        PaymentState::Voided => pill("idle", "↩", lang.of("Released", "Отпущено")),
        PaymentState::Verified => pill("ok", "✓", lang.of("Card verified", "Карта проверена")),
    }
}

pub(crate) const fn bill(status: BillStatus, lang: Lang) -> Pill {
    match status {
        BillStatus::NotPaid => pill("doubt", "○", lang.of("Owed", "Не оплачен")),
        BillStatus::InWork => pill("run", "▶", lang.of("Being paid", "Оплачивается")),
        BillStatus::Paid => pill("ok", "✓", lang.of("Paid", "Оплачен")),
        BillStatus::Void => pill("idle", "–", lang.of("Taken back", "Отозван")),
        BillStatus::Uncollectible => pill("bad", "✕", lang.of("Given up", "Безнадёжный")),
        BillStatus::PartiallyRefunded => pill("idle", "◐", lang.of("Partly given back", "Возвращён частично")),
        BillStatus::Refunded => pill("idle", "↩", lang.of("Given back", "Возвращён")),
    }
}

pub(crate) const fn account(status: AccountStatus, lang: Lang) -> Pill {
    match status {
        AccountStatus::Inactive => pill("idle", "○", lang.of("Never paid", "Ещё не платил")),
        AccountStatus::Active => pill("ok", "✓", lang.of("Active", "Активна")),
        AccountStatus::Overdue => pill("doubt", "!", lang.of("Overdue", "Просрочена")),
        AccountStatus::Canceled => pill("idle", "–", lang.of("Ended", "Закончилась")),
    }
}

pub(crate) const fn call(outcome: Option<CallOutcome>, lang: Lang) -> Pill {
    match outcome {
        None => pill("doubt", "?", lang.of("no end: its worker died", "без конца: обработчик погиб")),
        Some(CallOutcome::Ok) => pill("ok", "✓", lang.of("done", "выполнено")),
        Some(CallOutcome::Declined) => pill("bad", "✕", lang.of("declined", "отказ")),
        Some(CallOutcome::SafeToRetry) => pill("idle", "↻", lang.of("not processed", "не обработано")),
        Some(CallOutcome::Unknown) => pill("doubt", "?", lang.of("no clear response", "нет ясного ответа")),
        Some(CallOutcome::OurFault) => pill("person", "■", lang.of("not understood", "не понято шлюзом")),
    }
}

pub(crate) const fn kind(kind: BillKind, lang: Lang) -> &'static str {
    match kind {
        BillKind::Primary => lang.of("first payment", "первая оплата"),
        BillKind::Renewal => lang.of("renewal", "продление"),
        BillKind::Change => lang.of("change of tariff", "смена тарифа"),
        BillKind::Verification => lang.of("verification of a card", "проверка карты"),
    }
}

pub(crate) const fn instrument(instrument: Instrument, lang: Lang) -> &'static str {
    match instrument {
        Instrument::Cryptogram => lang.of("card typed in", "карта введена"),
        Instrument::Token => lang.of("kept card", "сохранённая карта"),
    }
}

/// Who did it, as a lane of the story.
pub(crate) const fn source(source: Source, lang: Lang) -> &'static str {
    match source {
        Source::Api => lang.of("Customer", "Абонент"),
        Source::Worker => lang.of("Task", "Задача"),
        Source::Timetable => lang.of("Timetable", "Расписание"),
        Source::Notification => lang.of("Gateway", "Шлюз"),
        Source::Reconciliation => lang.of("Reconciliation", "Сверка"),
        Source::Staff => lang.of("Staff", "Сотрудник"),
    }
}

pub(crate) const fn event(kind: EventKind, lang: Lang) -> &'static str {
    match kind {
        EventKind::AccountRegistered => lang.of("The account became known.", "Абонент зарегистрирован."),
        EventKind::AccessGranted => lang.of("Access was given.", "Доступ предоставлен."),
        EventKind::AccessEnds => {
            lang.of("No further period is charged; access ends.", "Больше не продлевается; доступ закончится.")
        }
        EventKind::AccessEnded => lang.of("Access has ended.", "Доступ закончился."),
        EventKind::PaymentSucceeded => lang.of("The payment succeeded.", "Оплата прошла."),
        EventKind::PaymentDeclined => lang.of("The payment was declined.", "Оплата отклонена."),
        EventKind::TrialBegan => lang.of("A trial began.", "Начался пробный период."),
        EventKind::TrialRefused => lang.of("A trial was refused.", "В пробном периоде отказано."),
        EventKind::TrialSet => lang.of("The trial of a tariff was set.", "Изменён пробный период тарифа."),
        EventKind::RenewalUpcoming => {
            lang.of("The customer was told of the coming charge.", "Абонент предупреждён о списании.")
        }
        EventKind::RenewalRefused => lang.of("The renewal came to nothing.", "Продление не удалось."),
        EventKind::CardExpiring => {
            lang.of("The customer was told that the card expires.", "Абонент предупреждён: срок карты истекает.")
        }
        EventKind::CardForgotten => lang.of("The card is kept no longer.", "Карта забыта."),
        EventKind::TariffChanged => lang.of("Another tariff runs.", "Действует другой тариф."),
        EventKind::PriceChangeUpcoming => {
            lang.of("The customer was told of another price.", "Абонент предупреждён об изменении цены.")
        }
        EventKind::RefundSucceeded => lang.of("Money went back.", "Деньги возвращены."),
        EventKind::ReceiptIssued => lang.of("A receipt was issued.", "Чек выдан."),
        EventKind::NeedsAttention => lang.of("A person must look.", "Нужно внимание сотрудника."),
        EventKind::PaymentMoved => lang.of("Payment", "Платёж"),
        EventKind::BillMoved => lang.of("Bill", "Счёт"),
        EventKind::AccountMoved => lang.of("Subscription", "Подписка"),
        EventKind::CancelRequested => lang.of("Cancellation was asked for.", "Запрошена отмена."),
        EventKind::Resumed => lang.of("The cancellation was taken back.", "Отмена отозвана."),
        EventKind::AccountClosed => lang.of("The person asked to be forgotten.", "Абонент попросил удалить данные."),
        EventKind::TariffChangeAsked => {
            lang.of("Another tariff was chosen from the next period on.", "Выбран другой тариф со следующего периода.")
        }
        EventKind::TariffChangeTakenBack => {
            lang.of("The choice of another tariff was taken back.", "Выбор другого тарифа отозван.")
        }
        EventKind::PriceSet => lang.of("A price was set.", "Установлена цена."),
        EventKind::PeriodsSkipped => {
            lang.of("Periods passed that are not charged.", "Периоды прошли и не будут списаны.")
        }
        EventKind::CardReplaced => {
            lang.of("Another card is charged from now on.", "Далее списания идут с другой карты.")
        }
        EventKind::RefundMoved => lang.of("Refund", "Возврат"),
        EventKind::ChargebackReceived => {
            lang.of("The customer's bank took the payment back.", "Банк абонента отозвал оплату (chargeback).")
        }
        EventKind::ExpirationMoved => {
            lang.of("The end of the paid time was moved by hand.", "Конец оплаченного времени перенесён вручную.")
        }
        EventKind::DifferenceDecided => lang.of(
            "It was decided what becomes of a difference from the gateway's list.",
            "Принято решение по расхождению со списком шлюза.",
        ),
    }
}

pub(crate) const fn refund(state: RefundState, lang: Lang) -> Pill {
    match state {
        RefundState::Requested => pill("idle", "○", lang.of("Asked for", "Запрошен")),
        RefundState::Sending => pill("run", "▶", lang.of("Sending", "Отправляется")),
        RefundState::Unknown => pill("doubt", "?", lang.of("Unknown", "Неизвестно")),
        RefundState::Succeeded => pill("ok", "✓", lang.of("Given back", "Возвращено")),
        RefundState::Failed => pill("bad", "✕", lang.of("Nothing went back", "Не возвращено")),
    }
}

pub(crate) const fn refund_source(source: RefundSource, lang: Lang) -> &'static str {
    match source {
        RefundSource::Ours => lang.of("staff", "сотрудник"),
        RefundSource::Automatic => lang.of("by itself: nobody owed it", "сам: платить было не за что"),
        RefundSource::External => lang.of("in the gateway's cabinet", "в кабинете шлюза"),
    }
}

pub(crate) const fn effect(effect: AccessEffect, lang: Lang) -> &'static str {
    match effect {
        AccessEffect::Keep => lang.of("Access stays as it is.", "Доступ не меняется."),
        AccessEffect::Shorten => lang.of(
            "The paid time ends earlier by the part that went back.",
            "Оплаченное время сократится на возвращённую часть.",
        ),
        AccessEffect::End => lang.of(
            "Access ends at once, and nothing is charged any more.",
            "Доступ закончится сразу, списаний больше не будет.",
        ),
    }
}

pub(crate) const fn action(kind: ActionKind, lang: Lang) -> &'static str {
    match kind {
        ActionKind::Cancel => lang.of("Cancel at the end of the paid time", "Отменить с конца оплаченного времени"),
        ActionKind::Resume => lang.of("Take the cancellation back", "Отозвать отмену"),
        ActionKind::ForgetCard => lang.of("Forget the card", "Забыть карту"),
        ActionKind::Extend => lang.of("Extend by days", "Продлить на дни"),
        ActionKind::ChangeTariff => {
            lang.of("Another tariff from the next period on", "Сменить тариф со следующего периода")
        }
        ActionKind::AskGateway => lang.of("Ask the gateway now", "Спросить шлюз сейчас"),
        ActionKind::RetryNow => lang.of("Charge again now", "Списать ещё раз сейчас"),
    }
}

pub(crate) const fn notice(kind: NoticeKind, lang: Lang) -> &'static str {
    match kind {
        NoticeKind::Pay => lang.of("payment", "оплата"),
        NoticeKind::Fail => lang.of("declined payment", "отказ в оплате"),
        NoticeKind::Confirm => lang.of("confirmation", "подтверждение"),
        NoticeKind::Refund => lang.of("refund", "возврат"),
        NoticeKind::Recurrent => lang.of("subscription of the gateway", "подписка шлюза"),
        NoticeKind::Cancel => lang.of("money let go", "отмена удержания"),
        NoticeKind::Receipt => lang.of("receipt", "чек"),
    }
}

pub(crate) const fn notice_effect(effect: Option<NoticeEffect>, lang: Lang) -> Pill {
    match effect {
        None => pill("run", "▶", lang.of("Nothing yet", "Пока ничего")),
        Some(NoticeEffect::Applied) => pill("ok", "✓", lang.of("Applied", "Применено")),
        Some(NoticeEffect::NothingNew) => pill("idle", "–", lang.of("Nothing new", "Ничего нового")),
        Some(NoticeEffect::Look) => pill("run", "↻", lang.of("The gateway is asked", "Шлюз спросят")),
        Some(NoticeEffect::Orphan) => pill("person", "■", lang.of("Fits nothing", "Не к чему отнести")),
        Some(NoticeEffect::Stored) => pill("idle", "○", lang.of("Kept", "Сохранено")),
    }
}

pub(crate) const fn difference(kind: DifferenceKind, lang: Lang) -> &'static str {
    match kind {
        DifferenceKind::MissingHere => lang.of("Payment missing here", "Платежа нет у нас"),
        DifferenceKind::MissingThere => lang.of("Payment missing at the gateway", "Платежа нет у шлюза"),
        DifferenceKind::Amount => lang.of("Another amount", "Другая сумма"),
        DifferenceKind::Currency => lang.of("Another currency", "Другая валюта"),
        DifferenceKind::Status => lang.of("Another state", "Другое состояние"),
        DifferenceKind::Duplicate => lang.of("Taken twice", "Списано дважды"),
        DifferenceKind::RefundMissingHere => lang.of("Refund missing here", "Возврата нет у нас"),
        DifferenceKind::RefundMissingThere => lang.of("Refund missing at the gateway", "Возврата нет у шлюза"),
        DifferenceKind::RefundAmount => lang.of("Another amount went back", "Возвращена другая сумма"),
        DifferenceKind::Chargeback => lang.of("Taken back by a bank", "Отозвано банком (chargeback)"),
        DifferenceKind::Ledger => lang.of("The ledger of a day differs", "Книги за день не сходятся"),
    }
}

pub(crate) const fn difference_state(state: DifferenceState, lang: Lang) -> Pill {
    match state {
        DifferenceState::Open => pill("person", "■", lang.of("Open", "Открыто")),
        DifferenceState::Explained => pill("idle", "–", lang.of("Explained", "Объяснено")),
        DifferenceState::Resolved => pill("ok", "✓", lang.of("Put right", "Устранено")),
    }
}

/// What stands in the audit log, in words; what nobody has words for as it is.
pub(crate) fn audited(action_name: &str, lang: Lang) -> &str {
    if let Ok(kind) = action_name.parse() {
        return action(kind, lang);
    }
    match action_name {
        "signed_in" => lang.of("Signed in", "Вход"),
        "sign_in_refused" => lang.of("Was not let in", "Вход отклонён"),
        "identity_linked" => lang.of("Came with the company's account", "Привязана учётная запись компании"),
        "password_allowed" => lang.of("Let somebody use a password", "Разрешён вход по паролю"),
        "proved_again" => lang.of("Showed again who they are", "Личность подтверждена ещё раз"),
        "signed_out_everywhere" => lang.of("Signed out everywhere else", "Выход на всех остальных"),
        "password_chosen" => lang.of("Chose a password", "Задан пароль"),
        "staff_added" => lang.of("Let somebody in", "Сотрудник впущен"),
        "invitation_accepted" => lang.of("Accepted an invitation", "Приглашение принято"),
        "second_factor_added" => lang.of("Set up a second factor", "Настроен второй фактор"),
        "second_factor_removed" => lang.of("Gave up the second factor", "Второй фактор убран"),
        "recovery_codes_renewed" => lang.of("Made new recovery codes", "Созданы новые резервные коды"),
        "staff_password_reset" => lang.of("Had somebody choose another password", "Пароль сброшен"),
        "staff_disabled" => lang.of("Let somebody in no more", "Вход закрыт"),
        "staff_role" => lang.of("Gave a role", "Назначена роль"),
        "saw_traces" => lang.of("Saw personal traces", "Просмотрены персональные данные"),
        "setting" => lang.of("Changed a setting", "Изменена настройка"),
        "exported" => lang.of("Took a list as a table", "Выгружен список"),
        "export_ended" => lang.of("The table was complete", "Выгрузка завершена"),
        "difference_decided" => lang.of("Decided about a difference", "Решение по расхождению"),
        "decline_rule" => lang.of("Changed what a refusal means", "Изменено значение отказа"),
        "refund" => lang.of("Asked for a refund", "Запрошен возврат"),
        "refund_approved" => lang.of("Agreed to a refund", "Возврат согласован"),
        "notification_again" => lang.of("Had a notification taken again", "Уведомление принято ещё раз"),
        "receipts_again" => lang.of("Asked the register again", "Касса запрошена ещё раз"),
        "closing_asked" => lang.of("Asked to close a payment in doubt", "Запрошено закрытие неизвестного платежа"),
        "closing_approved" => lang.of("Closed a payment in doubt", "Неизвестный платёж закрыт"),
        "closing_withdrawn" => lang.of("Took a closing back", "Запрос на закрытие отозван"),
        "bulk_asked" => lang.of("Asked for an action on many", "Запрошено массовое действие"),
        "bulk_approved" => lang.of("Agreed to an action on many", "Массовое действие согласовано"),
        "bulk_paused" => lang.of("Paused an action on many", "Массовое действие приостановлено"),
        "bulk_resumed" => lang.of("Let an action on many go on", "Массовое действие продолжено"),
        "bulk_stopped" => lang.of("Stopped an action on many", "Массовое действие остановлено"),
        "bulk_withdrawn" => lang.of("Took an action on many back", "Массовое действие отозвано"),
        "refund_withdrawn" => lang.of("Took a refund back", "Возврат отозван"),
        other => other,
    }
}

pub(crate) const fn group(group: DeclineGroup, lang: Lang) -> &'static str {
    match group {
        DeclineGroup::Hard => lang.of("For good", "Навсегда"),
        DeclineGroup::Soft => lang.of("No money, or a limit", "Нет денег или лимит"),
        DeclineGroup::Technical => lang.of("Bank or network out of order", "Сбой банка или сети"),
        DeclineGroup::Conditional => lang.of("May pass once", "Может пройти один раз"),
        DeclineGroup::CustomerAction => lang.of("The customer must act", "Нужно действие абонента"),
        DeclineGroup::Configuration => lang.of("Ours to mend", "Наша настройка"),
    }
}

pub(crate) const fn ending(ending: Ending, lang: Lang) -> &'static str {
    match ending {
        Ending::Taken => lang.of("The money was taken", "Деньги взяты"),
        Ending::Declined => lang.of("A refusal", "Отказ"),
        Ending::NotTaken => lang
            .of("Nothing, neither by number nor in the list of the day", "Ничего: ни по номеру, ни в списке за день"),
    }
}

pub(crate) const fn closing(state: ClosingState, lang: Lang) -> &'static str {
    match state {
        ClosingState::Waiting => lang.of("waits for a second person", "ждёт второго лица"),
        ClosingState::Done => lang.of("closed", "закрыт"),
        ClosingState::Withdrawn => lang.of("taken back", "отозвано"),
        ClosingState::Expired => lang.of("nobody agreed in time", "никто не согласился вовремя"),
    }
}

pub(crate) const fn bulk(state: BulkState, lang: Lang) -> Pill {
    match state {
        BulkState::Draft => pill("idle", "○", lang.of("Not asked for yet", "Ещё не запрошено")),
        BulkState::Waiting => pill("person", "■", lang.of("Waits for a second person", "Ждёт второго лица")),
        BulkState::Running => pill("run", "▶", lang.of("Under way", "Выполняется")),
        BulkState::Paused => pill("doubt", "◷", lang.of("Paused", "Приостановлено")),
        BulkState::Stopped => pill("bad", "✕", lang.of("Stopped", "Остановлено")),
        BulkState::Done => pill("ok", "✓", lang.of("Done", "Выполнено")),
        BulkState::Withdrawn => pill("idle", "–", lang.of("Taken back", "Отозвано")),
    }
}

pub(crate) const fn bulk_item(state: ItemState, lang: Lang) -> Pill {
    match state {
        ItemState::Waiting => pill("idle", "○", lang.of("To come", "Впереди")),
        ItemState::Done => pill("ok", "✓", lang.of("Done", "Выполнено")),
        ItemState::Refused => pill("bad", "✕", lang.of("Refused", "Отказано")),
        ItemState::Left => pill("idle", "–", lang.of("Left", "Не начато")),
    }
}

pub(crate) const fn bulk_refusal(why: Refusal, lang: Lang) -> &'static str {
    match why {
        Refusal::NothingPaid => lang.of("Nothing is paid that could be extended", "Нечего продлевать: не оплачено"),
        Refusal::Closed => lang.of("The account is closed", "Аккаунт закрыт"),
        Refusal::NotTaken => lang.of("No money was taken", "Деньги не были взяты"),
        Refusal::TooOld => lang.of("Older than a year", "Старше года"),
        Refusal::Unfinished => lang.of("Another refund of it is under way", "Идёт другой возврат"),
        Refusal::LessLeft => lang.of("Less is left by now", "Осталось уже меньше"),
        Refusal::ChargedBack => lang.of("The bank has taken it back", "Отозвано банком"),
        Refusal::OverLimit => lang.of("Above the limits of both roles", "Выше лимитов обеих ролей"),
        Refusal::Defect => {
            lang.of("Its rows contradict each other: see the log", "Данные противоречат друг другу: см. журнал")
        }
    }
}

pub(crate) const fn ledger(account: LedgerAccount, lang: Lang) -> &'static str {
    match account {
        LedgerAccount::Receivable => lang.of("Receivable", "Расчёты с абонентами"),
        LedgerAccount::GatewayClearing => lang.of("At the gateway", "Расчёты со шлюзом"),
        LedgerAccount::Bank => lang.of("Bank", "Банк"),
        LedgerAccount::DeferredRevenue => lang.of("Deferred revenue", "Доходы будущих периодов"),
        LedgerAccount::Revenue => lang.of("Revenue", "Выручка"),
        LedgerAccount::Vat => lang.of("VAT", "НДС"),
        LedgerAccount::RefundsPayable => lang.of("Refunds payable", "К возврату"),
        LedgerAccount::Fees => lang.of("Fees", "Комиссии"),
        LedgerAccount::Chargebacks => lang.of("Chargebacks", "Отозвано банками"),
        LedgerAccount::Suspense => lang.of("Suspense", "Невыясненное"),
    }
}

pub(crate) const fn receipt(kind: ReceiptKind, lang: Lang) -> &'static str {
    match kind {
        ReceiptKind::Income => lang.of("Of a payment", "Приход"),
        ReceiptKind::IncomeReturn => lang.of("Of a refund", "Возврат прихода"),
    }
}
