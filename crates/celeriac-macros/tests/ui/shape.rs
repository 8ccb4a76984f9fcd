use celeriac_macros::Task;
use serde::{Deserialize, Serialize};

#[derive(Task)]
#[task(name = "a.b")]
enum Choice {
    One,
}

#[derive(Task)]
#[task(name = "a.b")]
struct Unnamed(u64);

#[derive(Task)]
#[task(name = "a.b")]
struct Generic<T> {
    value: T,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "a.b")]
struct Flat {
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Serialize, Deserialize)]
struct Rest {}

#[derive(Task)]
#[task(name = "a.b")]
struct Field {
    #[task(secret)]
    token: String,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "a.b")]
struct TwoNames {
    #[serde(rename(serialize = "one", deserialize = "other"))]
    id: u64,
}

fn main() {}
