use celeriac_macros::Task;

#[derive(Task)]
#[task(name = "a.b", que = "payments")]
struct Unknown;

#[derive(Task)]
#[task(name = "a.b", acks_late, acks_late)]
struct Twice;

#[derive(Task)]
#[task(name = "a.b")]
#[task(name = "a.c")]
struct TwiceInTwoAttributes;

#[derive(Task)]
#[task(name = "a.b", priority = 256)]
struct Priority;

#[derive(Task)]
#[task(name = "a.b", max_retries = "often")]
struct Retries;

#[derive(Task)]
#[task(name = "a.b", rate_limit = "10/week")]
struct Rate;

#[derive(Task)]
#[task(name = "a.b", acks_late = 1)]
struct Flag;

#[derive(Task)]
#[task(name = "a.b", queue = "")]
struct Queue;

#[derive(Task)]
#[task(name = "a.b", concurrency_key = "acount_id")]
struct Key {
    account_id: u64,
}

#[derive(Task)]
#[task(name = "a.b", concurrency_limit = 2)]
struct LimitWithoutKey;

#[derive(Task)]
#[task(name = "a.b", concurrency_key = "account_id", concurrency_limit = 0)]
struct NoneAtATime {
    account_id: u64,
}

fn main() {}
