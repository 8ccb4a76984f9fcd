use celeriac_macros::Task;

#[derive(Task)]
struct NoAttribute;

#[derive(Task)]
#[task(queue = "payments")]
struct NoName {
    id: u64,
}

#[derive(Task)]
#[task(name = "")]
struct EmptyName;

#[derive(Task)]
#[task(name = "two words")]
struct Spaces;

#[derive(Task)]
#[task(name = 7)]
struct NumberAsName;

fn main() {}
