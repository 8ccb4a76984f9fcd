//! What is compared, in SQL. `$1` is the run, `$6` the present; what lies between says where the chunk begins and ends.

/// Whether a decision holds no longer.
macro_rules! is_again {
    () => {
        "(difference.state <> 'open' and (difference.decided_by = 'reconciliation'
                or (difference.our_amount, difference.their_amount, difference.our_currency, difference.their_currency,
                    difference.their_status)
                is distinct from (excluded.our_amount, excluded.their_amount, excluded.our_currency,
                    excluded.their_currency, excluded.their_status)))"
    };
}

/// A row that was found, on its way into `difference`.
///
/// What was decided about stays decided, unless it is other money now, or only this module had decided.
macro_rules! into_difference {
    () => {
        concat!(
            "insert into difference (id, kind, subject, created_at, found_by, seen_at, seen_by, at, transaction_id, payment_id,
            account_id, invoice_id, our_amount, their_amount, our_currency, their_currency, our_state, their_status, state)
        select gen_random_uuid(), kind, subject, $6, $1, $6, $1, at, transaction_id, payment_id, account_id, invoice_id,
            our_amount, their_amount, our_currency, their_currency, our_state, their_status, 'open'
        from found
        on conflict on constraint difference_once do update set
            seen_at = excluded.seen_at, seen_by = excluded.seen_by, payment_id = excluded.payment_id,
            our_amount = excluded.our_amount, their_amount = excluded.their_amount,
            our_currency = excluded.our_currency, their_currency = excluded.their_currency,
            our_state = excluded.our_state, their_status = excluded.their_status,
            state = case when ",
            is_again!(),
            " then 'open' else difference.state end,
            decided_at = case when ",
            is_again!(),
            " then null else difference.decided_at end,
            decided_by = case when ",
            is_again!(),
            " then null else difference.decided_by end,
            reason = case when ",
            is_again!(),
            " then null else difference.reason end
        returning id, kind, subject, payment_id, (xmax = 0) as is_new"
        )
    };
}

pub(super) const THEIRS: &str = concat!(
    "with chunk as (
        select * from gateway_transaction
        where (created_at, transaction_id) > ($2, $3) and (created_at, transaction_id) <= ($4, $5) and on_our_terminal
        -- So that whoever plans it knows that these are few.
        order by created_at, transaction_id limit :few
    ), beside as (
        select c.*, coalesce(t.id, i.id) as p_id, t.id is not null as by_number, i.transaction_id as i_transaction,
            coalesce(i.state in ('succeeded', 'succeeded_duplicate'), false) as i_succeeded,
            coalesce(t.amount, i.amount) as p_amount, coalesce(t.currency, i.currency) as p_currency,
            coalesce(t.state, i.state) as p_state,
            c.status in ('Completed', 'Authorized') as is_money
        from chunk c
        left join payment t on t.transaction_id = c.transaction_id
        -- An invoice number alone proves nothing: account and payment must be ours too.
        left join lateral (
            select p.* from payment p join bill b on b.id = p.bill_id
            where p.invoice_no = c.invoice_no and b.account_id::text = lower(c.account_id)
                and coalesce(c.payment_id, p.id) = p.id
        ) i on true
        where c.operation = 'payment'
    ), judged as (
        select b.*,
            -- Of several payments of one invoice the one that our row names is the payment, or else the first.
            b.status = 'Completed' and b.invoice_no is not null and not coalesce(b.refunded, false)
                and b.transaction_id <> case when b.i_succeeded or o.has_ours then b.i_transaction else o.first end
                as is_duplicate
        from beside b
        left join lateral (
            select min(o.transaction_id) as first, bool_or(o.transaction_id = b.i_transaction) as has_ours
            from gateway_transaction o
            where o.invoice_no = b.invoice_no and o.operation = 'payment' and o.status = 'Completed'
                and o.on_our_terminal and lower(o.account_id) is not distinct from lower(b.account_id)
        ) o on b.status = 'Completed'
    ), found as (
        select k.kind, 'transaction:' || j.transaction_id as subject, j.created_at as at, j.transaction_id,
            j.p_id as payment_id, j.account_id, j.invoice_id, j.p_amount as our_amount, j.amount as their_amount,
            j.p_currency as our_currency, j.currency as their_currency, j.p_state as our_state,
            j.status as their_status
        from judged j cross join lateral (values
            ('duplicate', j.is_duplicate),
            ('missing_here', j.is_money and j.p_id is null and not coalesce(j.is_duplicate, false)),
            ('amount', j.is_money and j.p_id is not null and not coalesce(j.is_duplicate, false)
                and j.amount is distinct from j.p_amount),
            ('currency', j.is_money and j.p_id is not null and not coalesce(j.is_duplicate, false)
                and j.currency is distinct from j.p_currency),
            ('status', j.p_id is not null and not coalesce(j.is_duplicate, false) and case
                when j.status = 'Completed' then j.p_state not in ('succeeded', 'succeeded_duplicate')
                when j.status = 'Authorized' then j.p_state <> 'authorized'
                -- Of an attempt whose number is another's a refusal says nothing: it was followed by another try.
                else j.by_number and j.p_state in ('succeeded', 'succeeded_duplicate', 'authorized')
            end)
        ) as k (kind, applies)
        where k.applies
        union all
        -- Money that goes out by a payout is nobody's order: we never make one.
        select 'missing_here', 'transaction:' || c.transaction_id, c.created_at, c.transaction_id, null, c.account_id,
            c.invoice_id, null, c.amount, null, c.currency, null, c.status
        from chunk c where c.operation = 'payout' and c.status = 'Completed'
        union all
        select case when r.id is null then 'refund_missing_here' else 'refund_amount' end,
            'transaction:' || c.transaction_id, c.created_at, c.transaction_id, coalesce(r.payment_id, p.id),
            c.account_id, c.invoice_id, r.amount, c.amount, r.currency, c.currency, r.state, c.status
        from chunk c
        left join refund r on r.gateway_tx_id = c.transaction_id
        left join payment p on p.transaction_id = c.original_id
        where c.operation = 'refund' and c.status = 'Completed'
            and (r.id is null or (r.amount, r.currency::text) is distinct from (c.amount, c.currency))
    )
    ",
    into_difference!()
);

pub(super) const CHARGEBACKS: &str = concat!(
    "with found as (
        select 'chargeback' as kind, 'chargeback:' || c.chargeback_id as subject, c.at, c.transaction_id,
            p.id as payment_id, p.account_id::text as account_id, p.invoice_no::text as invoice_id,
            p.amount as our_amount, c.amount as their_amount, p.currency::text as our_currency,
            c.currency as their_currency, p.state as our_state, null::text as their_status
        from gateway_chargeback c
        left join lateral (
            select p.*, b.account_id from payment p join bill b on b.id = p.bill_id
            where p.transaction_id = c.transaction_id limit 1
        ) p on true
        where c.at >= $2 and c.at < $4 and $3::bigint = 0 and $5::bigint = 0
    )
    ",
    into_difference!()
);

pub(super) const OUR_REFUNDS: &str = concat!(
    "with found as (
        select 'refund_missing_there' as kind, 'refund:' || r.id as subject, r.first_sent_at as at,
            r.gateway_tx_id as transaction_id, p.id as payment_id, p.account_id::text as account_id,
            p.invoice_no::text as invoice_id, r.amount as our_amount, null::bigint as their_amount,
            r.currency::text as our_currency, null::text as their_currency, r.state as our_state,
            null::text as their_status
        from refund r join lateral (
            select p.id, p.invoice_no, b.account_id from payment p join bill b on b.id = p.bill_id
            where p.id = r.payment_id limit 1
        ) p on true
        where r.gateway_tx_id is not null and r.first_sent_at >= $2 and r.first_sent_at < $4 and r.state = 'succeeded'
            and $3::bigint = 0 and $5::bigint = 0
            and not exists (select from gateway_transaction g where g.transaction_id = r.gateway_tx_id)
    )
    ",
    into_difference!()
);

pub(super) const OURS: &str = concat!(
    "with found as (
        select 'missing_there' as kind, 'payment:' || p.id as subject, p.first_sent_at as at, p.transaction_id,
            p.id as payment_id, b.account_id::text as account_id, p.invoice_no::text as invoice_id,
            p.amount as our_amount, null::bigint as their_amount, p.currency::text as our_currency,
            null::text as their_currency, p.state as our_state, null::text as their_status
        from (
            select * from payment
            where transaction_id is not null and (first_sent_at, id) > ($2, $3) and (first_sent_at, id) <= ($4, $5)
            order by first_sent_at, id limit :few
        ) p join bill b on b.id = p.bill_id
        where p.state in ('succeeded', 'succeeded_duplicate', 'authorized')
            and not exists (select from gateway_transaction g where g.transaction_id = p.transaction_id)
    )
    ",
    into_difference!()
);

/// A day of which the ledger's clearing account and the list do not come to the same, by the transactions of the day, whenever
/// the ledger has entered them. What banks have taken back the list does not have, and what differs by itself is left out.
pub(super) const CLEARING: &str = concat!(
    "with listed as (
        select g.transaction_id, g.currency,
            case g.operation when 'refund' then -g.amount else g.amount end as amount
        from gateway_transaction g
        where g.created_at >= $2 and g.created_at < $3 and g.on_our_terminal and g.status = 'Completed' and g.operation in ('payment', 'refund')
            and g.amount is not null and g.currency ~ '^[A-Z]{3}$'
            -- What differs by itself has a row of its own.
            and not exists (
                select from difference own
                where own.transaction_id = g.transaction_id and own.kind <> 'ledger' and own.state <> 'resolved'
            )
    ), entered as (
        select entry.transaction_id, sum(line.amount)::bigint as amount
        from (
            select l.transaction_id, l.currency, e.id, e.kind, e.currency::text as entered_in
            from listed l join journal_entry e on e.transaction_id = l.transaction_id
            union all
            -- A refund may have been entered before its number was known.
            select l.transaction_id, l.currency, e.id, e.kind, e.currency::text
            from listed l
            join refund r on r.gateway_tx_id = l.transaction_id
            join journal_entry e on e.key = 'refund:' || r.id and e.transaction_id is null
        ) as entry
        join journal_line line on line.entry_id = entry.id and line.account = 'gateway_clearing'
        where entry.kind in ('payment', 'suspense', 'placement', 'refund') and entry.entered_in = entry.currency
        group by entry.transaction_id
    ), found as (
        select 'ledger' as kind, 'ledger:' || $4 || ':' || l.currency as subject, $2 as at,
            null::bigint as transaction_id, null::uuid as payment_id, null::text as account_id, null::text as invoice_id,
            coalesce(sum(e.amount), 0)::bigint as our_amount, sum(l.amount)::bigint as their_amount,
            l.currency as our_currency, l.currency as their_currency, null::text as our_state,
            null::text as their_status
        from listed l left join entered e using (transaction_id)
        where $5::bigint = 0
        group by l.currency
        having coalesce(sum(e.amount), 0) <> sum(l.amount)
    )
    ",
    into_difference!()
);
