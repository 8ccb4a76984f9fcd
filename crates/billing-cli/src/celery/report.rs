//! `report`: what to send with a report of a bug (`celery/bin/celery.py`, `report`).

use celeriac::control::report;
use clap::Args;

use super::failure::Failure;
use super::options::GlobalOptions;

#[derive(Args, Debug)]
pub struct ReportArgs {
    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let results = args.global.result_backend_url();
    Ok(args.global.output().line(&report(&args.global.broker_url(), results.as_deref(), &[]))?)
}
