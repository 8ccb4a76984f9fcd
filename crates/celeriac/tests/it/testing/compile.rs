//! What users read when a task, or its body, is of the wrong type.

#[test]
fn a_wrongly_typed_task_is_explained_where_it_stands() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
