//! What refusals mean: rows that the staff changes while the program runs, each change with who, why, and how it was before.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};

use super::StoreError;
use crate::db::DbError;
use crate::decline::{BadRule, BadSchedule, CustomerAction, DeclineGroup, Rule, Ruling, Schedule};
use crate::schema::{decline_change, decline_rule, decline_schedule};
use crate::text::Text;

/// The longest name of who changes, in characters.
pub const MAX_ACTOR: usize = 100;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 1_000;

/// How a refusal with this code is judged now. Read in the transaction that writes the refusal down.
///
/// # Errors
/// [`DbError`].
pub async fn ruling(conn: &mut AsyncPgConnection, code: i32) -> Result<Ruling, DbError> {
    let found: Option<(RuleRow, Value)> = decline_rule::table
        .inner_join(decline_schedule::table)
        .filter(decline_rule::code.eq(code))
        .select((RuleRow::as_select(), decline_schedule::hours))
        .first(conn)
        .await
        .optional()?;
    if let Some((row, hours)) = found {
        let rule = Rule::from(row);
        let schedule = schedule_of(rule.group, &hours);
        return Ok(Ruling { rule, schedule });
    }
    let rule = Rule::unlisted(code);
    let hours: Option<Value> =
        decline_schedule::table.find(rule.group).select(decline_schedule::hours).first(conn).await.optional()?;
    let schedule = hours.map_or_else(|| Schedule::seeded(rule.group), |hours| schedule_of(rule.group, &hours));
    Ok(Ruling { rule, schedule })
}

/// All rules by code, and the schedule of each group.
///
/// # Errors
/// [`DbError`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<(Vec<Rule>, Vec<(DeclineGroup, Schedule)>), DbError> {
    let rules: Vec<RuleRow> =
        decline_rule::table.order(decline_rule::code).select(RuleRow::as_select()).load(conn).await?;
    let schedules: Vec<(DeclineGroup, Value)> = decline_schedule::table
        .order(decline_schedule::decline_group)
        .select((decline_schedule::decline_group, decline_schedule::hours))
        .load(conn)
        .await?;
    let schedules = schedules.into_iter().map(|(group, hours)| (group, schedule_of(group, &hours))).collect();
    Ok((rules.into_iter().map(Rule::from).collect(), schedules))
}

/// A schedule that somebody wrote past the checks holds for nothing: the bounds are not for the database alone to keep.
fn schedule_of(group: DeclineGroup, hours: &Value) -> Schedule {
    let read = read_hours(hours).map(|hours| Schedule::new(group, &hours));
    match read {
        Some(Ok(schedule)) => schedule,
        Some(Err(error)) => {
            tracing::error!(%group, %error, "the schedule in the database breaks the rules: the one of a new database holds");
            Schedule::seeded(group)
        }
        None => {
            tracing::error!(%group, %hours, "the schedule in the database cannot be read: that of a new database holds");
            Schedule::seeded(group)
        }
    }
}

fn read_hours(hours: &Value) -> Option<Vec<i32>> {
    hours.as_array()?.iter().map(|hours| i32::try_from(hours.as_i64()?).ok()).collect()
}

/// Who changes, when, and why.
#[derive(Debug, Clone)]
pub struct Author {
    /// 1 to [`MAX_ACTOR`] characters.
    pub actor: String,
    /// 1 to [`MAX_REASON`] characters.
    pub reason: String,
    pub now: DateTime<Utc>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Rule(#[from] BadRule),
    #[error(transparent)]
    Schedule(#[from] BadSchedule),
    #[error("who changes: 1 to {MAX_ACTOR} characters")]
    Actor,
    #[error("the reason: 1 to {MAX_REASON} characters")]
    Reason,
    #[error("it is so already")]
    NoChange,
    #[error("there is no version {0}")]
    UnknownVersion(i64),
    /// Taking it back would undo what was decided later.
    #[error("{subject} was changed again by version {version}: take that one back first")]
    ChangedSince { subject: String, version: i64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for ChangeError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// One change, as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = decline_change, check_for_backend(diesel::pg::Pg))]
pub struct Change {
    pub version: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub reason: String,
    /// `rule:5051` or `schedule:soft`.
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// The last changes, the latest first; at most `limit`.
///
/// # Errors
/// [`DbError`].
pub async fn changes(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<Change>, DbError> {
    let latest = decline_change::table.order(decline_change::version.desc()).limit(limit);
    Ok(latest.select(Change::as_select()).load(conn).await?)
}

/// Puts a rule in the place of the one of its code. Returns the version.
///
/// # Errors
/// [`ChangeError`].
pub async fn set_rule(conn: &mut AsyncPgConnection, rule: &Rule, author: &Author) -> Result<i64, ChangeError> {
    rule.check()?;
    change(conn, Subject::Rule(rule.code), Some(&rule_json(rule)), author).await
}

/// Puts a schedule in the place of that of its group. Returns the version.
///
/// # Errors
/// [`ChangeError`].
pub async fn set_schedule(
    conn: &mut AsyncPgConnection,
    group: DeclineGroup,
    hours: &[i32],
    author: &Author,
) -> Result<i64, ChangeError> {
    let schedule = Schedule::new(group, hours)?;
    change(conn, Subject::Schedule(group), Some(&json!(schedule.hours())), author).await
}

/// Takes a change back, if nothing was changed there since. Returns the version of that.
///
/// # Errors
/// [`ChangeError`].
pub async fn revert(conn: &mut AsyncPgConnection, version: i64, author: &Author) -> Result<i64, ChangeError> {
    let wrong: Option<Change> =
        decline_change::table.find(version).select(Change::as_select()).first(conn).await.optional()?;
    let wrong = wrong.ok_or(ChangeError::UnknownVersion(version))?;
    let subject = Subject::parse(&wrong.subject).ok_or(ChangeError::UnknownVersion(version))?;
    conn.transaction(async |conn| {
        one_at_a_time(conn).await?;
        let last: Option<i64> = decline_change::table
            .filter(decline_change::subject.eq(&wrong.subject))
            .select(diesel::dsl::max(decline_change::version))
            .first(conn)
            .await?;
        if let Some(version) = last.filter(|last| *last != version) {
            return Err(ChangeError::ChangedSince { subject: wrong.subject.clone(), version });
        }
        change(conn, subject, wrong.before.as_ref(), author).await
    })
    .await
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Rule(i32),
    Schedule(DeclineGroup),
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("rule", code) => Some(Self::Rule(code.parse().ok()?)),
            ("schedule", group) => Some(Self::Schedule(group.parse().ok()?)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(code) => write!(f, "rule:{code}"),
            Self::Schedule(group) => write!(f, "schedule:{group}"),
        }
    }
}

/// Writes a row and what it was before, together.
async fn change(
    conn: &mut AsyncPgConnection,
    subject: Subject,
    after: Option<&Value>,
    author: &Author,
) -> Result<i64, ChangeError> {
    let fits = |text: &str, most| !text.trim().is_empty() && text.chars().count() <= most && !text.contains('\0');
    if !fits(&author.actor, MAX_ACTOR) {
        return Err(ChangeError::Actor);
    }
    if !fits(&author.reason, MAX_REASON) {
        return Err(ChangeError::Reason);
    }
    conn.transaction(async |conn| {
        one_at_a_time(conn).await?;
        let before = standing(conn, subject).await?;
        if before.as_ref() == after {
            return Err(ChangeError::NoChange);
        }
        write(conn, subject, after).await?;
        let told = diesel::insert_into(decline_change::table).values((
            decline_change::at.eq(author.now),
            decline_change::actor.eq(&author.actor),
            decline_change::reason.eq(&author.reason),
            decline_change::subject.eq(subject.to_string()),
            decline_change::before.eq(before),
            decline_change::after.eq(after.cloned()),
        ));
        Ok(told.returning(decline_change::version).get_result(conn).await?)
    })
    .await
}

/// Changes are made by people, seldom: one after the other. Readers do not wait.
async fn one_at_a_time(conn: &mut AsyncPgConnection) -> Result<(), ChangeError> {
    let lock = diesel::sql_query("lock table decline_change in share row exclusive mode");
    lock.execute(conn).await?;
    Ok(())
}

async fn standing(conn: &mut AsyncPgConnection, subject: Subject) -> Result<Option<Value>, ChangeError> {
    Ok(match subject {
        Subject::Rule(code) => {
            let row: Option<RuleRow> =
                decline_rule::table.find(code).select(RuleRow::as_select()).first(conn).await.optional()?;
            row.map(|row| rule_json(&Rule::from(row)))
        }
        Subject::Schedule(group) => {
            decline_schedule::table.find(group).select(decline_schedule::hours).first(conn).await.optional()?
        }
    })
}

async fn write(conn: &mut AsyncPgConnection, subject: Subject, after: Option<&Value>) -> Result<(), ChangeError> {
    match (subject, after) {
        (Subject::Rule(code), None) => {
            diesel::delete(decline_rule::table.find(code)).execute(conn).await?;
        }
        (Subject::Rule(code), Some(after)) => {
            let row = RuleRow::read(code, after).ok_or(BadRule::Retries)?;
            diesel::insert_into(decline_rule::table)
                .values(&row)
                .on_conflict(decline_rule::code)
                .do_update()
                .set(&row)
                .execute(conn)
                .await?;
        }
        (Subject::Schedule(group), after) => {
            let hours = after.cloned().unwrap_or_else(|| json!(Schedule::seeded(group).hours()));
            let putting = diesel::update(decline_schedule::table.find(group)).set(decline_schedule::hours.eq(hours));
            putting.execute(conn).await?;
        }
    }
    Ok(())
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = decline_rule, check_for_backend(diesel::pg::Pg))]
struct RuleRow {
    code: i32,
    decline_group: DeclineGroup,
    max_retries: i32,
    customer_action: CustomerAction,
    message_en: String,
    message_ru: String,
}

impl From<RuleRow> for Rule {
    fn from(row: RuleRow) -> Self {
        Self {
            code: row.code,
            group: row.decline_group,
            max_retries: row.max_retries,
            action: row.customer_action,
            message: Text::new(row.message_en, row.message_ru),
        }
    }
}

impl RuleRow {
    /// As [`rule_json`] has it.
    fn read(code: i32, json: &Value) -> Option<Self> {
        let text = |name: &str| json[name].as_str();
        Some(Self {
            code,
            decline_group: text("group")?.parse().ok()?,
            max_retries: i32::try_from(json["max_retries"].as_i64()?).ok()?,
            customer_action: text("action")?.parse().ok()?,
            message_en: text("en")?.to_owned(),
            message_ru: text("ru")?.to_owned(),
        })
    }
}

/// A rule as the changes keep it.
pub(in crate::store) fn rule_json(rule: &Rule) -> Value {
    json!({
        "group": rule.group.as_str(),
        "max_retries": rule.max_retries,
        "action": rule.action.as_str(),
        "en": rule.message.en,
        "ru": rule.message.ru,
    })
}

/// As [`rule_json`] has it.
pub(in crate::store) fn rule_of(code: i32, json: &Value) -> Option<Rule> {
    RuleRow::read(code, json).map(Rule::from)
}
