use celeriac_macros::Task;

#[derive(Task)]
#[task(name = "a.b", time_limit = "10")]
struct NoUnit;

#[derive(Task)]
#[task(name = "a.b", time_limit = 10)]
struct NoText;

#[derive(Task)]
#[task(name = "a.b", retry_backoff = "0s")]
struct Zero;

#[derive(Task)]
#[task(name = "a.b", soft_time_limit = "5m", time_limit = "4m")]
struct SoftAfterHard;

fn main() {}
