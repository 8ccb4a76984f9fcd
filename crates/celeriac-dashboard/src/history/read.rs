//! What pages ask of the history. Everything is found by an index or within a limit of time.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{History, Trouble, text};
use crate::memory::{Direction, Filter, Kept, Key, Page, Toward};

/// Nobody reads larger numbers: they are told as more than that.
pub(crate) const MOST_COUNTED: usize = 10_000;

/// Tasks of one name in an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) name: String,
    pub(crate) heard: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    /// How long they ran, in seconds: nineteen of twenty at most, and the longest.
    pub(crate) p95: Option<f64>,
    pub(crate) longest: Option<f64>,
}

type Value = Box<dyn ToSql + Sync + Send>;

/// A condition that grows.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(filter: &Filter) -> Self {
        let mut all = Self { sql: "true".to_owned(), values: Vec::new() };
        let Filter { name, state, worker, queue, id, error, text: wanted, from, to } = filter;
        let pattern = |text: &str| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let micros = |seconds: &f64| Box::new((seconds * 1e6) as i64) as Value;
        let exact =
            [("state = ", state), ("worker = ", worker), ("queue = ", queue), ("id = ", id), ("error = ", error)];
        for (sql, value) in exact {
            if !value.is_empty() {
                all.add(sql, Box::new(text(value)));
            }
        }
        if !name.is_empty() {
            all.add("name LIKE ", Box::new(format!("{}%", pattern(&text(name)))));
        }
        if !wanted.is_empty() {
            all.add("arguments LIKE ", Box::new(format!("%{}%", pattern(&text(wanted)))));
        }
        if let Some(from) = from {
            all.add("heard >= ", micros(from));
        }
        if let Some(to) = to {
            all.add("heard < ", micros(to));
        }
        all
    }

    fn add(&mut self, sql: &str, value: Value) {
        self.values.push(value);
        let number = self.values.len();
        self.sql.push_str(&format!(" AND {sql}${number}"));
    }

    /// Beyond a place in the list: `<` is older.
    fn beyond(mut self, comparison: &str, (micros, id): &Key) -> Self {
        self.values.push(Box::new(*micros));
        self.values.push(Box::new(text(id)));
        let number = self.values.len();
        self.sql.push_str(&format!(" AND (heard, id) {comparison} (${}, ${number})", number - 1));
        self
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

fn kept(row: &Row) -> Option<Kept> {
    let (heard, id, story): (i64, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let read = Kept::read((heard, id.into()), story);
    read.inspect_err(|error| tracing::warn!(%error, id, "a task of the history cannot be read")).ok()
}

impl History {
    /// One page of those that match, and how many there are besides, counted up to [`MOST_COUNTED`] and one more.
    pub(crate) async fn page(&self, filter: &Filter, direction: &Direction, limit: usize) -> Result<Page, Trouble> {
        let (conditions, order) = match direction {
            Direction::Top => (Conditions::of(filter), "DESC"),
            Direction::At(key) => (Conditions::of(filter).beyond("<=", key), "DESC"),
            Direction::From(key, Toward::Older) => (Conditions::of(filter).beyond("<", key), "DESC"),
            Direction::From(key, Toward::Newer) => (Conditions::of(filter).beyond(">", key), "ASC"),
        };
        let rows = format!(
            "SELECT heard, id, story FROM celeriac_dashboard.task WHERE {}
             ORDER BY heard {order}, id {order} LIMIT {limit}",
            conditions.sql
        );
        self.ask(async |client| {
            let mut rows: Vec<Kept> =
                client.query(&rows, &conditions.values()).await?.iter().filter_map(kept).collect();
            if order == "ASC" {
                rows.reverse();
            }
            let (first, last) = (rows.first().map(|row| row.key.clone()), rows.last().map(|row| row.key.clone()));
            // An empty page has what is on the other side of where it begins.
            let from = match direction {
                Direction::Top => None,
                Direction::At(key) | Direction::From(key, _) => Some(key.clone()),
            };
            let newer = match (direction, first.or_else(|| from.clone())) {
                (Direction::Top, _) | (_, None) => 0,
                (_, Some(key)) => count(client, Conditions::of(filter).beyond(">", &key)).await?,
            };
            let older = match last.or(from) {
                None => 0,
                Some(key) => count(client, Conditions::of(filter).beyond("<", &key)).await?,
            };
            Ok(Page { rows, newer, older })
        })
        .await
    }

    /// A task by its id. One that was heard of on several days is the last of them.
    pub(crate) async fn task(&self, id: &str) -> Result<Option<Kept>, Trouble> {
        let all = "SELECT heard, id, story FROM celeriac_dashboard.task WHERE id = $1 ORDER BY heard DESC LIMIT 1";
        self.ask(async |client| Ok(client.query_opt(all, &[&text(id)]).await?.as_ref().and_then(kept))).await
    }

    /// Those of one workflow, as [`Tasks::of_workflow`](crate::memory::Tasks::of_workflow) has them.
    pub(crate) async fn of_workflow(&self, root: &str, limit: usize) -> Result<(Vec<Kept>, usize), Trouble> {
        let of = "FROM (SELECT * FROM celeriac_dashboard.task WHERE root_id = $1
                        UNION SELECT * FROM celeriac_dashboard.task WHERE id = $1) AS workflow";
        let rows = format!("SELECT heard, id, story {of} ORDER BY heard, id LIMIT {limit}");
        let counted = format!("SELECT count(*) {of}");
        self.ask(async |client| {
            let rows = client.query(&rows, &[&text(root)]).await?.iter().filter_map(kept).collect();
            let count: i64 = client.query_one(&counted, &[&text(root)]).await?.get(0);
            Ok((rows, usize::try_from(count).unwrap_or_default()))
        })
        .await
    }

    /// What ran from a time to another, in seconds since 1970, by name; at most so many names, most failures first or the
    /// slowest first.
    pub(crate) async fn ranking(
        &self,
        from: f64,
        to: f64,
        by_failures: bool,
        limit: usize,
    ) -> Result<Vec<Ranked>, Trouble> {
        let order = if by_failures { "failed DESC, retried DESC" } else { "p95 DESC NULLS LAST" };
        let ranking = format!(
            "SELECT coalesce(name, ''), count(*), count(*) FILTER (WHERE state = 'FAILURE') AS failed,
                    count(*) FILTER (WHERE state = 'RETRY') AS retried,
                    percentile_disc(0.95) WITHIN GROUP (ORDER BY ran) AS p95, max(ran)
             FROM celeriac_dashboard.task WHERE heard >= $1 AND heard < $2
             GROUP BY name ORDER BY {order}, name LIMIT {limit}"
        );
        let (from, to) = ((from * 1e6) as i64, (to * 1e6) as i64);
        let ranked = |row: &Row| Ranked {
            name: row.get(0),
            heard: row.get::<_, i64>(1).unsigned_abs(),
            failed: row.get::<_, i64>(2).unsigned_abs(),
            retried: row.get::<_, i64>(3).unsigned_abs(),
            p95: row.get(4),
            longest: row.get(5),
        };
        self.ask(async |client| Ok(client.query(&ranking, &[&from, &to]).await?.iter().map(ranked).collect())).await
    }
}

async fn count(client: &tokio_postgres::Client, conditions: Conditions) -> Result<usize, Trouble> {
    let counted = format!(
        "SELECT count(*) FROM (SELECT 1 FROM celeriac_dashboard.task WHERE {} LIMIT {}) AS counted",
        conditions.sql,
        MOST_COUNTED + 1
    );
    let count: i64 = client.query_one(&counted, &conditions.values()).await?.get(0);
    Ok(usize::try_from(count).unwrap_or_default())
}
