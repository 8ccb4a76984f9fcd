//! What dashboards before this one were reported for, and which test keeps it from happening here. The numbers are those of the
//! list in the design reference of the panels; what is about money stands in the tests of the panel.

use std::fs;
use std::path::Path;

/// What went wrong elsewhere, and the tests here.
const PITFALLS: [(u32, &str, &[&str]); 27] = [
    (5, "a button for all hits more than was seen", &["what_a_preview_shows_is_what_its_form_asks_for"]),
    (
        7,
        "what cannot be undone is done without a question",
        &[
            "who_may_only_look_is_offered_no_button_and_to_look_at_an_action_does_nothing",
            "a_form_that_is_sent_twice_acts_once_and_a_reason_is_asked_for_what_cannot_be_undone",
        ],
    ),
    (
        8,
        "reading only is cosmetic",
        &[
            "who_may_only_look_is_offered_no_button_and_to_look_at_an_action_does_nothing",
            "no_route_is_open_to_who_has_no_right_to_it",
        ],
    ),
    (
        9,
        "everybody has full control",
        &[
            "no_route_is_open_to_who_has_no_right_to_it",
            "without_a_read_token_anybody_on_this_machine_looks_and_nobody_acts",
        ],
    ),
    (
        10,
        "open by default, forged forms, names that are not anchored",
        &[
            "without_a_read_token_it_is_for_this_machine_only",
            "another_name_for_this_machine_opens_nothing",
            "the_header_counts_only_from_trusted_proxies_and_once",
        ],
    ),
    (11, "run again from printed arguments", &["every_page_can_be_read_by_everybody_and_every_button_acts"]),
    (
        12,
        "history is gone at a restart, or saved and empty",
        &["a_restart_forgets_nothing", "a_dashboard_that_is_killed_in_mid_load_has_lost_no_more_than_what_it_tells"],
    ),
    (
        13,
        "a list at its limit freezes",
        &[
            "one_task_too_many_pushes_out_the_one_that_was_heard_of_first",
            "the_texts_of_all_tasks_together_have_a_bound",
        ],
    ),
    (
        14,
        "rows without data, because the first event was missed",
        &["a_task_that_is_heard_of_from_its_middle_on_is_filled_by_what_comes_late"],
    ),
    (
        15,
        "memory by large arguments, figures of dead workers for ever",
        &[
            "long_texts_are_cut_at_the_door_and_told_with_their_true_length",
            "names_of_workers_are_bounded_and_who_is_there_stays",
            "fifty_open_pages_and_two_thousand_tasks_a_second_take_bounded_memory_and_lose_nothing_untold",
        ],
    ),
    (
        16,
        "workers that are gone leave at once, or never",
        &["a_silent_worker_is_late_then_gone_then_folded_and_never_forgotten"],
    ),
    (
        17,
        "clocks and zones",
        &[
            "times_are_told_by_the_clocks_of_the_zone_and_in_utc_for_who_asks",
            "a_task_waits_from_its_sending_or_from_its_eta_and_never_less_than_nothing",
            "durations_are_told_in_two_units_at_most",
        ],
    ),
    (
        18,
        "counts over millions of rows",
        &["no_list_reads_the_whole_history_and_none_counts_further_than_anybody_reads"],
    ),
    (
        19,
        "numbers that nobody can read",
        &["no_list_reads_the_whole_history_and_none_counts_further_than_anybody_reads"],
    ),
    (
        20,
        "a keyset drops rows of the same moment",
        &[
            "paging_both_ways_shows_each_task_once",
            "every_task_stands_on_one_page_also_of_those_heard_of_at_the_same_time",
        ],
    ),
    (21, "a count does not follow the filter", &["every_figure_is_that_of_flower", "conditions_combine"]),
    (
        25,
        "a page dies of many attempts or tasks",
        &[
            "a_task_that_is_told_of_without_end_stays_small",
            "a_workflow_of_thousands_is_shown_up_to_a_limit_and_counted",
        ],
    ),
    (
        28,
        "looking at messages takes them",
        &["nobody_looks_at_parked_messages_who_has_not_pressed_the_button", "every_figure_is_that_of_flower"],
    ),
    (
        29,
        "where a dead letter belongs, and whether it came back",
        &["what_is_parked_and_requeued_is_what_it_was", "one_that_comes_again_and_again_says_how_often"],
    ),
    (
        30,
        "a size that counts what has ended alarms for nothing",
        &["every_figure_is_that_of_flower", "a_queue_grows_when_it_has_more_than_twice_what_it_had"],
    ),
    (
        31,
        "a schedule that does not say that it is off, hostile expressions",
        &["a_schedule_needs_one_who_leads_and_is_in_time", "every_wrong_field_is_named"],
    ),
    (
        32,
        "the load of the pages keeps others waiting",
        &["two_thousand_tasks_a_second_are_kept_and_what_a_slow_database_costs_is_told"],
    ),
    (
        33,
        "an open stream holds the end",
        &[
            "open_pages_do_not_hold_the_end",
            "fifty_open_pages_and_two_thousand_tasks_a_second_take_bounded_memory_and_lose_nothing_untold",
        ],
    ),
    (
        34,
        "the seventh tab hangs",
        &[
            "no_more_than_two_hundred_pages_are_kept_up_to_date_and_one_that_is_closed_makes_room",
            "every_page_can_be_read_by_everybody_and_every_button_acts",
        ],
    ),
    (35, "rows move under the pointer", &["every_page_can_be_read_by_everybody_and_every_button_acts"]),
    (39, "failed tasks cannot be singled out", &["conditions_combine", "a_restart_forgets_nothing"]),
    (
        40,
        "buttons that nobody can tell apart",
        &["who_may_only_look_is_offered_no_button_and_to_look_at_an_action_does_nothing"],
    ),
];

fn sources(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).expect("it is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).expect("it can be read"));
        }
    }
}

/// The list is worth nothing when a test of it was renamed or taken away.
#[test]
fn each_pitfall_has_tests_that_are_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    for directory in ["src", "tests", "../celeriac/src/parking", "../../tests/e2e"] {
        sources(&here.join(directory), &mut all);
    }
    for (number, pitfall, tests) in PITFALLS {
        assert!(!tests.is_empty(), "{number}, {pitfall}, is kept off by nothing");
        for test in tests {
            assert!(all.contains(&format!("fn {test}(")), "{number}, {pitfall}: there is no test {test}");
        }
    }
}
