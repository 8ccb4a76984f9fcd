//! What the gateway has told by itself.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::{Made, Order, Part, Slice, StoreError, beyond};
use crate::PaymentId;
use crate::notification::{Notice, NoticeEffect, NoticeKind};
use crate::schema::notification;

/// Which notifications, and how they are sorted: by when they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotificationFilter {
    pub kind: Option<NoticeKind>,
    /// What came of it.
    pub effect: Option<NoticeEffect>,
    /// When it came.
    pub received: Made,
    pub order: Order,
}

/// Where a row stands in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationCursor {
    pub received_at: DateTime<Utc>,
    pub gateway_id: String,
    pub body_sha256: Vec<u8>,
    pub kind: NoticeKind,
}

/// A row of the list; holds no token.
#[derive(Debug, Clone, PartialEq)]
pub struct NotificationLine {
    pub cursor: NotificationCursor,
    pub notice: Notice,
    /// `None`: nothing has come of it yet.
    pub effect: Option<NoticeEffect>,
    pub payment_id: Option<PaymentId>,
}

type Row = (NoticeKind, String, Vec<u8>, DateTime<Utc>, Value, Option<NoticeEffect>, Option<PaymentId>);

/// A part of the notifications.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn notifications(
    conn: &mut AsyncPgConnection,
    filter: NotificationFilter,
    part: &Part<NotificationCursor>,
    limit: i64,
) -> Result<Slice<NotificationLine>, StoreError> {
    let mut query = notification::table.into_boxed();
    if let Some(kind) = filter.kind {
        // Written out, so that the plan is that of this kind.
        query = query.filter(sql::<Bool>(&format!("notification.kind = '{}'", kind.as_str())));
    }
    if let Some(effect) = filter.effect {
        query = query.filter(sql::<Bool>(&format!("notification.effect = '{}'", effect.as_str())));
    }
    if let Some(from) = filter.received.from {
        query = query.filter(notification::received_at.ge(from));
    }
    if let Some(before) = filter.received.before {
        query = query.filter(notification::received_at.lt(before));
    }
    const KEY: &str =
        "(notification.received_at, notification.gateway_id, notification.body_sha256, notification.kind)";
    let (place, is_ascending) = part.reading(filter.order);
    if let Some(of) = place {
        let behind = sql::<Bool>(&format!("{KEY} {} (", beyond(is_ascending)))
            .bind::<Timestamptz, _>(of.received_at)
            .sql(", ")
            .bind::<Text, _>(of.gateway_id.clone())
            .sql(", ")
            .bind::<Binary, _>(of.body_sha256.clone())
            .sql(", ")
            .bind::<Text, _>(of.kind.as_str().to_owned())
            .sql(")");
        query = query.filter(behind);
    }
    let newest = (
        notification::received_at.desc(),
        notification::gateway_id.desc(),
        notification::body_sha256.desc(),
        notification::kind.desc(),
    );
    let oldest = (notification::received_at, notification::gateway_id, notification::body_sha256, notification::kind);
    query = if is_ascending { query.order(oldest) } else { query.order(newest) };
    let rows: Vec<Row> = query
        .limit(limit + 1)
        .select((
            notification::kind,
            notification::gateway_id,
            notification::body_sha256,
            notification::received_at,
            notification::told,
            notification::effect,
            notification::payment_id,
        ))
        .load(conn)
        .await?;
    let line = |(kind, gateway_id, body_sha256, received_at, told, effect, payment_id): Row| NotificationLine {
        cursor: NotificationCursor { received_at, gateway_id, body_sha256, kind },
        notice: serde_json::from_value(told).unwrap_or_default(),
        effect,
        payment_id,
    };
    Ok(Slice::new(rows.into_iter().map(line).collect(), part, limit))
}
