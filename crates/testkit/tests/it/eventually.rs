//! Waiting ends: with the answer, or with a panic that says what was seen.

use std::cell::Cell;
use std::future::{pending, ready};
use std::time::Duration;

use testkit::eventually;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn it_asks_until_there_is_an_answer() {
    let looks = Cell::new(0);
    let look = || {
        looks.set(looks.get() + 1);
        looks.get()
    };
    eventually(LONG, || ready(look() == 3)).await;
    assert_eq!(eventually(LONG, || ready((look() == 6).then_some("six"))).await, "six");
    assert_eq!(eventually(LONG, || ready(if look() == 9 { Ok("nine") } else { Err("not yet") })).await, "nine");
}

#[tokio::test]
#[should_panic(expected = "last seen: \"nobody home\"")]
async fn in_the_end_it_panics_with_the_last_error() {
    eventually(SHORT, || ready(Err::<(), _>("nobody home"))).await;
}

#[tokio::test]
#[should_panic(expected = "testkit/tests/it/eventually.rs")]
async fn the_panic_names_the_line_of_the_caller_even_when_a_look_hangs() {
    eventually(SHORT, pending::<bool>).await;
}
