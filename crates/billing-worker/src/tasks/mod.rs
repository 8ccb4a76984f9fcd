//! One file per task. Each is a function of the rows' state: called twice, or ten times, it does its work once.

mod charge;
mod charge_payment;
mod charge_renewal;
mod complete_three_ds;
mod end_holds;
mod expire_three_ds;
mod look_up;
mod open_renewals;
mod places;
mod republish_stranded;
mod resolve_payment;
mod resolve_unknown;
mod settle;

use celeriac::worker::WorkerBuilder;

use crate::desk::Desk;

/// Everything this worker can do.
pub(crate) fn register(worker: WorkerBuilder<Desk>) -> WorkerBuilder<Desk> {
    worker
        .task(charge_payment::charge_payment)
        .task(charge_renewal::charge_renewal)
        .task(complete_three_ds::complete_three_ds)
        .task(resolve_payment::resolve_payment)
        .task(open_renewals::open_renewals)
        .task(republish_stranded::republish_stranded)
        .task(resolve_unknown::resolve_unknown)
        .task(expire_three_ds::expire_three_ds)
        .task(end_holds::end_holds)
}
