//! The schema: up, down and up again; what the database itself forbids; `schema.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use billing::db::{Db, MIGRATIONS};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::MigrationHarness;

use crate::shop::Shop;

async fn objects(db: &Db) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Object {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let query = "select relname::text as name from pg_class where relnamespace = 'public'::regnamespace
                 union all select proname::text from pg_proc where pronamespace = 'public'::regnamespace
                 order by name";
    let objects: Vec<Object> = diesel::sql_query(query).load(&mut *db.conn().await.unwrap()).await.unwrap();
    objects.into_iter().map(|object| object.name).filter(|name| !name.starts_with("__diesel")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_down_and_up_again() {
    let database = testkit::postgres().await;
    let db = Db::connect(database.url(), 1).await.unwrap();
    let all = db.migrate().await.unwrap();
    let up = objects(&db).await;
    assert!(["tariff", "account", "bill", "payment"].iter().all(|table| up.iter().any(|name| name == table)));

    let mut harness = AsyncMigrationHarness::new(db.conn().await.unwrap());
    harness.revert_all_migrations(MIGRATIONS).unwrap();
    drop(harness);
    assert_eq!(objects(&db).await, Vec::<String>::new(), "down leaves nothing behind");

    assert_eq!(db.migrate().await.unwrap(), all);
    assert_eq!(objects(&db).await, up);
    assert_eq!(db.migrate().await.unwrap(), Vec::<String>::new(), "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_migrate_at_once() {
    let database = testkit::postgres().await;
    let migrations = (0..4).map(|_| {
        let url = database.url().to_owned();
        tokio::spawn(async move { Db::connect(&url, 1).await.unwrap().migrate().await.unwrap() })
    });
    let mut done = Vec::new();
    for migration in migrations.collect::<Vec<_>>() {
        done.push(migration.await.unwrap());
    }
    assert_eq!(done.iter().filter(|applied| !applied.is_empty()).count(), 1, "one of them did it all: {done:?}");
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    data_type: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

#[derive(QueryableByName)]
struct PrimaryKey {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    columns: String,
}

#[derive(QueryableByName)]
struct ForeignKey {
    #[diesel(sql_type = Text)]
    child: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    parent: String,
}

const COLUMNS: &str = "select c.relname::text as table_name, a.attname::text as column_name,
        format_type(a.atttypid, a.atttypmod) as data_type, not a.attnotnull as nullable
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace and c.relname not like '\\_\\_diesel%'
        and a.attnum > 0 and not a.attisdropped
    order by c.relname, a.attnum";

const PRIMARY_KEYS: &str = "select k.conrelid::regclass::text as table_name,
        string_agg(a.attname, ', ' order by array_position(k.conkey, a.attnum)) as columns
    from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any(k.conkey)
    where k.contype = 'p' and k.connamespace = 'public'::regnamespace
    group by k.conrelid";

const FOREIGN_KEYS: &str = "select k.conrelid::regclass::text as child, a.attname::text as column_name,
        k.confrelid::regclass::text as parent
    from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
    where k.contype = 'f' and cardinality(k.conkey) = 1 and k.connamespace = 'public'::regnamespace
    order by child, column_name";

fn diesel_type(column: &Column) -> &'static str {
    match column.data_type.as_str() {
        "uuid" => "Uuid",
        "text" => "Text",
        "character(3)" => "Bpchar",
        "integer" => "Int4",
        "bigint" => "Int8",
        "boolean" => "Bool",
        "date" => "Date",
        "interval" => "Interval",
        "timestamp with time zone" => "Timestamptz",
        "bytea" => "Bytea",
        "jsonb" => "Jsonb",
        other => panic!("say here what diesel calls {other}"),
    }
}

const HEADER: &str = "\
// Generated from the migrated database; do not edit. The test `schema_rs_is_what_the_migrations_make` compares the two.
// After a new migration: `UPDATE_SCHEMA=1 make test`. (`diesel migration run` of diesel's own command line tool writes
// the same tables.)
";

async fn generate(shop: &Shop) -> String {
    let mut conn = shop.conn().await;
    let columns: Vec<Column> = diesel::sql_query(COLUMNS).load(&mut *conn).await.unwrap();
    let primary: Vec<PrimaryKey> = diesel::sql_query(PRIMARY_KEYS).load(&mut *conn).await.unwrap();
    let primary: BTreeMap<&str, &str> = primary.iter().map(|key| (&*key.table_name, &*key.columns)).collect();
    let keys: Vec<ForeignKey> = diesel::sql_query(FOREIGN_KEYS).load(&mut *conn).await.unwrap();
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    for column in &columns {
        let body = tables.entry(&column.table_name).or_default();
        let of = diesel_type(column);
        if of == "Bpchar" {
            body.push_str("        #[max_length = 3]\n");
        }
        let of = if column.nullable { format!("Nullable<{of}>") } else { of.to_owned() };
        writeln!(body, "        {} -> {of},", column.column_name).unwrap();
    }
    let mut file = HEADER.to_owned();
    for (table, body) in &tables {
        let key = primary[table];
        write!(file, "\ndiesel::table! {{\n    {table} ({key}) {{\n{body}    }}\n}}\n").unwrap();
    }
    file.push('\n');
    // As diesel has it: where two columns refer to the same table, none is the one to join by.
    let is_alone = |key: &&ForeignKey| {
        keys.iter().filter(|other| (&other.child, &other.parent) == (&key.child, &key.parent)).count() == 1
    };
    for key in keys.iter().filter(is_alone) {
        writeln!(file, "diesel::joinable!({} -> {} ({}));", key.child, key.parent, key.column_name).unwrap();
    }
    let names: Vec<&str> = tables.keys().copied().collect();
    let allow = format!("diesel::allow_tables_to_appear_in_same_query!({},);", names.join(", "));
    // As rustfmt has it.
    let allow = if allow.len() <= 120 {
        allow
    } else {
        allow.replace("!(", "!(\n    ").replace(", ", ",\n    ").replace(",);", ",\n);")
    };
    write!(file, "\n{allow}\n").unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_rs_is_what_the_migrations_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
    let generated = generate(&Shop::open().await).await;
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == generated, "schema.rs is out of date: UPDATE_SCHEMA=1 make test\n{generated}");
}

/// The rows of a database from before there were cards: an account whose card is kept, with a renewal under way, one whose
/// card was forgotten, and a first payment that may bring a card yet.
const BEFORE_CARDS: &str = "
    insert into tariff (id, name, period, amount) values (gen_random_uuid(), 'month', '1 month', 39900);
    insert into account (id, payment_token, card, card_since) values
        ('00000000-0000-4000-8000-00000000000a', 'sealed', '{\"last_four\": \"1111\"}', '2026-01-02T00:00:00Z'),
        ('00000000-0000-4000-8000-00000000000b', null, null, '2026-01-03T00:00:00Z'),
        ('00000000-0000-4000-8000-00000000000c', null, null, null);
    insert into bill (id, status, amount, account_id, paid_period, payment_type, currency, tariff_id, description, kind, period_no)
        select a.id, 'In work', 39900, a.id, '1 month', 'TOKEN', 'RUB', t.id, t.name, 'renewal', 2 from account a, tariff t;
    insert into payment (bill_id, state, instrument, amount, currency, request_id, woken_at, created_at)
        select id, 'created', case right(id::text, 1) when 'a' then 'token' else 'cryptogram' end, 39900, 'RUB',
            id::text, now(), case right(id::text, 1) when 'b' then '2026-01-01T00:00:00Z'::timestamptz else now() end
        from bill;";

#[tokio::test(flavor = "multi_thread")]
async fn cards_of_older_rows_are_migrated_and_back() {
    use diesel_async::SimpleAsyncConnection as _;
    const CARDS: &str = "20261129040000";
    let database = testkit::postgres().await;
    let db = Db::connect(database.url(), 1).await.unwrap();
    db.migrate().await.unwrap();
    let back = async || {
        let mut harness = AsyncMigrationHarness::new(db.conn().await.unwrap());
        while harness.revert_last_migration(MIGRATIONS).unwrap().to_string() != CARDS {}
    };
    let text = async |select: &str| {
        #[derive(QueryableByName)]
        struct Value {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let query = diesel::sql_query(format!("select coalesce(({select})::text, 'null') as value"));
        query.get_result::<Value>(&mut *db.conn().await.unwrap()).await.unwrap().value
    };
    back().await;
    db.conn().await.unwrap().batch_execute(BEFORE_CARDS).await.unwrap();
    db.migrate().await.unwrap();
    let cards = "select string_agg(right(account_id::text, 1) || generation || coalesce(token, '-')
        || coalesce(mask->>'last_four', '-'), ' ' order by account_id) from card";
    assert_eq!(text(cards).await, "a1sealed1111 c1--", "what was begun before a card was forgotten brings none");
    let named = "select string_agg(right(b.id::text, 1) || c.generation, ' ' order by b.id)
        from attempt_card n join card c on c.id = n.card_id join payment p on p.id = n.payment_id
        join bill b on b.id = p.bill_id";
    assert_eq!(text(named).await, "a1 c1");
    db.conn()
        .await
        .unwrap()
        .batch_execute(
            "insert into bill (id, status, amount, account_id, payment_type, currency, tariff_id, description, kind, period_no)
                select gen_random_uuid(), 'Void', 100, account_id, 'CRYPTOGRAM', 'RUB', tariff_id, 'card', 'verification', 0
                from bill where right(id::text, 1) = 'a';
            insert into payment (bill_id, state, is_success, finished_at, instrument, amount, currency, request_id, woken_at)
                select id, 'verified', false, now(), 'cryptogram', 100, 'RUB', id::text, now() from bill where kind = 'verification'",
        )
        .await
        .unwrap();

    back().await;
    let since = "select string_agg(coalesce(card_since::date::text, '-'), ' ' order by id) from account";
    assert_eq!(text(since).await, "2026-01-02 - -");
    assert_eq!(
        text("select payment_token || (card->>'last_four') from account where payment_token is not null").await,
        "sealed1111"
    );
    assert_eq!(text("select count(*) from payment where state = 'voided'").await, "1", "history stays");
    assert_eq!(text("select string_agg(distinct kind, ' ') from bill where status = 'Void'").await, "primary");
}

/// A change of tariff at once is what older programs do not know: one that is over is a purchase for them, and one that is
/// under way must end before.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_once_that_is_over_goes_down_as_a_purchase_and_one_under_way_is_waited_for() {
    const CHANGES: &str = "20261129050010";
    let shop = Shop::open().await;
    let account = shop.subscribed(crate::shop::month(), 1).await;
    let change = format!(
        "insert into bill (id, status, amount, account_id, paid_period, payment_type, currency, tariff_id, description, kind, period_no)
         select gen_random_uuid(), 'In work', 100, '{account}', '12 months', 'TOKEN', 'RUB', id, name, 'change', 2
         from tariff where name = 'Год'"
    );
    shop.sql(&change).await.unwrap();
    let mut harness = AsyncMigrationHarness::new(shop.conn().await);
    let refused = loop {
        match harness.revert_last_migration(MIGRATIONS) {
            Ok(version) => assert_ne!(version.to_string(), CHANGES, "a change is under way"),
            Err(refused) => break refused.to_string(),
        }
    };
    assert!(refused.contains("a change of tariff at once is under way"), "{refused}");
    assert_eq!(shop.count("bill where kind = 'change'").await, 1, "nothing was touched");
    shop.sql("update bill set status = 'Paid', paid_at = now() where kind = 'change'").await.unwrap();
    assert_eq!(harness.revert_last_migration(MIGRATIONS).unwrap().to_string(), CHANGES);
    drop(harness);
    assert_eq!(
        shop.count("bill where kind = 'primary' and status = 'Paid' and period_no = 2").await,
        1,
        "history stays"
    );
    shop.db.migrate().await.unwrap();
}
