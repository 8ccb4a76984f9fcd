//! Statements of the database as OpenTelemetry's conventions name them: without a value, which may be somebody's.

/// The longest text of a statement that is told, in bytes.
const MAX_TEXT: usize = 2_000;

/// What a statement is, by its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// `db.query.text`: its literals are question marks.
    pub(super) text: String,
    /// `db.operation.name`: `SELECT`.
    pub(super) operation: String,
    /// `db.collection.name`: the table it is about, if it says so.
    pub(super) table: Option<String>,
}

impl Statement {
    pub(super) fn read(text: &str) -> Self {
        // Should the values ever stand beside it, they stay here.
        let text = without_literals(text.split(" -- binds:").next().unwrap_or_default());
        let words: Vec<&str> = text.split_whitespace().collect();
        let words = changing(&words);
        let operation = words.first().map_or("", |word| opened(word)).trim_end_matches(';').to_ascii_uppercase();
        let before_table = match operation.as_str() {
            "SELECT" | "DELETE" => "from",
            "INSERT" => "into",
            _ => "update",
        };
        let place = words.iter().position(|word| word.eq_ignore_ascii_case(before_table));
        let table = place.and_then(|place| words.get(place + 1)).and_then(|word| name(word));
        Self { operation, table, text: clipped(text) }
    }

    /// `db.query.summary`, and the name of the span: `SELECT payment`.
    pub(super) fn summary(&self) -> String {
        match &self.table {
            Some(table) => format!("{} {table}", self.operation),
            None => self.operation.clone(),
        }
    }
}

/// Of a statement that begins with common tables what follows from where something is changed, or is first read.
fn changing<'a, 'b>(words: &'a [&'b str]) -> &'a [&'b str] {
    if !words.first().is_some_and(|word| word.eq_ignore_ascii_case("with")) {
        return words;
    }
    let is = |word: &str, of: &[&str]| of.iter().any(|that| opened(word).eq_ignore_ascii_case(that));
    let changes = words.iter().position(|word| is(word, &["insert", "update", "delete"]));
    let reads = words.iter().position(|word| is(word, &["select"]));
    changes.or(reads).and_then(|place| words.get(place..)).unwrap_or_default()
}

fn opened(word: &str) -> &str {
    word.trim_start_matches('(')
}

/// A table, without quotes and schema; a statement in parentheses is none.
fn name(word: &str) -> Option<String> {
    let name: String = word.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '"' | '.')).collect();
    let name = name.replace('"', "");
    let name = name.rsplit('.').next().unwrap_or_default();
    (!name.is_empty()).then(|| name.to_owned())
}

fn without_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        match c {
            '\'' => {
                // A quote within is doubled.
                while let Some(inside) = rest.next() {
                    if inside == '\'' && rest.next_if_eq(&'\'').is_none() {
                        break;
                    }
                }
                out.push('?');
            }
            digit if digit.is_ascii_digit() && !(before.is_alphanumeric() || matches!(before, '_' | '$' | '"')) => {
                while rest.next_if(|c| c.is_ascii_digit() || *c == '.').is_some() {}
                out.push('?');
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

fn clipped(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_does_to_which_table_and_tells_no_value() {
        for (text, summary, told) in [
            (
                r#"SELECT "payment"."id" FROM "payment" WHERE ("payment"."state" = $1) LIMIT $12"#,
                "SELECT payment",
                r#"SELECT "payment"."id" FROM "payment" WHERE ("payment"."state" = $1) LIMIT $12"#,
            ),
            (
                r#"INSERT INTO "event" ("kind") VALUES ($1)"#,
                "INSERT event",
                r#"INSERT INTO "event" ("kind") VALUES ($1)"#,
            ),
            (r#"UPDATE "billing"."bill" SET x1 = 7.5"#, "UPDATE bill", r#"UPDATE "billing"."bill" SET x1 = ?"#),
            (
                "delete from gateway_call where note = 'it''s 4242'",
                "DELETE gateway_call",
                "delete from gateway_call where note = ?",
            ),
            (
                "with due as (select id from account) update bill set state = 'void' from due",
                "UPDATE bill",
                "with due as (select id from account) update bill set state = ? from due",
            ),
            ("select count(*) from (select 1) as x", "SELECT", "select count(*) from (select ?) as x"),
            ("COMMIT", "COMMIT", "COMMIT"),
            ("select $1 -- binds: [\"4242\"]", "SELECT", "select $1"),
            ("select 'not closed", "SELECT", "select ?"),
            ("", "", ""),
        ] {
            let statement = Statement::read(text);
            assert_eq!((statement.summary().as_str(), statement.text.as_str()), (summary, told), "{text}");
        }
        assert_eq!(Statement::read(&"ü".repeat(3_000)).text.len(), 2_000);
    }
}
