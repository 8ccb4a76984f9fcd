//! One file per task. Each is a function of the rows' state: called twice, or ten times, it does its work once.

mod announce;
mod calls;
mod charge;
mod charge_payment;
mod charge_renewal;
mod complete_three_ds;
mod end_holds;
mod expire_three_ds;
mod keep_history;
mod look_for_refund;
mod look_up;
mod open_renewals;
mod places;
mod recognize_revenue;
mod reconcile;
mod reconcile_days;
mod refund_payment;
mod republish_stranded;
mod resolve_payment;
mod resolve_unknown;
mod resume_refunds;
mod roll_up_reports;
mod run_bulks;
mod send_receipt;
mod settle;
mod settle_notifications;
mod trail;
mod watch_receipts;
mod wipe_traces;

use billing::event::Source::{Notification, Reconciliation, Staff, Timetable, Worker};
use celeriac::worker::WorkerBuilder;

use self::trail::on;
use crate::desk::Desk;

/// Everything this worker can do.
pub(crate) fn register(worker: WorkerBuilder<Desk>) -> WorkerBuilder<Desk> {
    worker
        .task(on(Worker, charge_payment::charge_payment))
        .task(on(Worker, charge_renewal::charge_renewal))
        .task(on(Worker, complete_three_ds::complete_three_ds))
        .task(on(Worker, resolve_payment::resolve_payment))
        .task(on(Worker, refund_payment::refund_payment))
        .task(on(Worker, send_receipt::send_receipt))
        .task(on(Timetable, open_renewals::open_renewals))
        .task(on(Timetable, announce::announce))
        .task(on(Timetable, republish_stranded::republish_stranded))
        .task(on(Timetable, resolve_unknown::resolve_unknown))
        .task(on(Timetable, resume_refunds::resume_refunds))
        .task(on(Timetable, watch_receipts::watch_receipts))
        .task(on(Timetable, expire_three_ds::expire_three_ds))
        .task(on(Worker, end_holds::end_hold))
        .task(on(Timetable, end_holds::end_holds))
        .task(on(Notification, settle_notifications::settle_notifications))
        .task(on(Timetable, keep_history::keep_history))
        .task(on(Timetable, wipe_traces::wipe_traces))
        .task(on(Timetable, reconcile_days::reconcile_days))
        .task(on(Reconciliation, reconcile::reconcile))
        .task(on(Timetable, recognize_revenue::recognize_revenue))
        .task(on(Timetable, roll_up_reports::roll_up_reports))
        .task(on(Staff, run_bulks::run_bulks))
}
