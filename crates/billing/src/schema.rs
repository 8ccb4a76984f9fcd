// Generated from the migrated database; do not edit. The test `schema_rs_is_what_the_migrations_make` compares the two.
// After a new migration: `UPDATE_SCHEMA=1 make test`. (`diesel migration run` of diesel's own command line tool writes
// the same tables.)

diesel::table! {
    account (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        status -> Text,
        payment_token -> Nullable<Text>,
        expiration_dt -> Nullable<Date>,
        tariff_id -> Nullable<Uuid>,
        time_zone -> Text,
        anchor_at -> Nullable<Timestamptz>,
        anchor_period_no -> Nullable<Int4>,
        paid_period -> Nullable<Interval>,
        period_no -> Int4,
        paid_until -> Nullable<Timestamptz>,
        access_until -> Nullable<Timestamptz>,
        next_charge_at -> Nullable<Timestamptz>,
        cancel_at_period_end -> Bool,
        declines -> Int4,
        first_declined_at -> Nullable<Timestamptz>,
        card -> Nullable<Jsonb>,
        faults -> Int4,
        card_barred -> Bool,
        pending_tariff_id -> Nullable<Uuid>,
        told_period_no -> Int4,
        told_price_from -> Timestamptz,
        told_card -> Int4,
        closed_at -> Nullable<Timestamptz>,
        traces_wiped_at -> Nullable<Timestamptz>,
        trial_period_no -> Nullable<Int4>,
    }
}

diesel::table! {
    api_request (client, idempotency_key) {
        client -> Text,
        idempotency_key -> Text,
        verb -> Text,
        account_id -> Uuid,
        created_at -> Timestamptz,
        payment_id -> Nullable<Uuid>,
        digest -> Nullable<Bytea>,
    }
}

diesel::table! {
    attempt_card (payment_id) {
        payment_id -> Uuid,
        card_id -> Uuid,
    }
}

diesel::table! {
    audit_log (id) {
        id -> Int8,
        at -> Timestamptz,
        staff_id -> Nullable<Uuid>,
        name -> Text,
        role -> Text,
        address -> Text,
        action -> Text,
        target_kind -> Nullable<Text>,
        target -> Nullable<Text>,
        reason -> Nullable<Text>,
        before -> Nullable<Jsonb>,
        after -> Nullable<Jsonb>,
    }
}

diesel::table! {
    bill (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        status -> Text,
        amount -> Int8,
        account_id -> Uuid,
        paid_period -> Nullable<Interval>,
        card_cryptogram_packet -> Nullable<Text>,
        ip_address -> Nullable<Text>,
        pa_res -> Nullable<Text>,
        payment_type -> Text,
        #[max_length = 3]
        currency -> Bpchar,
        tariff_id -> Uuid,
        description -> Text,
        kind -> Text,
        period_no -> Int4,
        paid_at -> Nullable<Timestamptz>,
        skipped_periods -> Int4,
        trial_days -> Nullable<Int4>,
        trial_refused -> Nullable<Text>,
        two_stages -> Bool,
    }
}

diesel::table! {
    bulk (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        kind -> Text,
        days -> Nullable<Int4>,
        effect -> Nullable<Text>,
        conditions -> Text,
        staff_id -> Uuid,
        made_by -> Text,
        made_role -> Text,
        address -> Text,
        reason -> Nullable<Text>,
        items -> Int4,
        left_out -> Int4,
        total -> Int8,
        #[max_length = 3]
        currency -> Nullable<Bpchar>,
        state -> Text,
        asked_at -> Nullable<Timestamptz>,
        approved_by -> Nullable<Text>,
        approved_role -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        lease_until -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    bulk_item (bulk_id, no) {
        bulk_id -> Uuid,
        no -> Int4,
        account_id -> Uuid,
        payment_id -> Nullable<Uuid>,
        amount -> Nullable<Int8>,
        state -> Text,
        why -> Nullable<Text>,
        refund_id -> Nullable<Uuid>,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    card (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        account_id -> Uuid,
        generation -> Int4,
        token -> Nullable<Text>,
        mask -> Nullable<Jsonb>,
        ended_at -> Nullable<Timestamptz>,
        ended -> Nullable<Text>,
    }
}

diesel::table! {
    chargeback (id) {
        id -> Text,
        created_at -> Timestamptz,
        payment_id -> Uuid,
        transaction_id -> Int8,
        amount -> Int8,
        currency -> Text,
        kind -> Text,
        operation -> Text,
        at -> Timestamptz,
    }
}

diesel::table! {
    circuit (name) {
        name -> Text,
        state -> Text,
        since -> Timestamptz,
        failures -> Int4,
        trips -> Int4,
        until -> Nullable<Timestamptz>,
        reason -> Nullable<Text>,
        calls -> Int4,
        failed -> Int4,
        counted_since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    closed_balance (month, account, currency) {
        month -> Date,
        account -> Text,
        #[max_length = 3]
        currency -> Bpchar,
        amount -> Int8,
    }
}

diesel::table! {
    closed_month (month) {
        month -> Date,
        closed_at -> Timestamptz,
        closed_by -> Text,
    }
}

diesel::table! {
    daily_figure (id) {
        id -> Int8,
        day -> Date,
        figure -> Text,
        label -> Text,
        tariff_id -> Nullable<Uuid>,
        #[max_length = 3]
        currency -> Bpchar,
        count -> Int8,
        amount -> Int8,
    }
}

diesel::table! {
    decline_change (version) {
        version -> Int8,
        at -> Timestamptz,
        actor -> Text,
        reason -> Text,
        subject -> Text,
        before -> Nullable<Jsonb>,
        after -> Nullable<Jsonb>,
    }
}

diesel::table! {
    decline_rule (code) {
        code -> Int4,
        decline_group -> Text,
        max_retries -> Int4,
        customer_action -> Text,
        message_en -> Text,
        message_ru -> Text,
    }
}

diesel::table! {
    decline_schedule (decline_group) {
        decline_group -> Text,
        hours -> Jsonb,
    }
}

diesel::table! {
    deferral (id) {
        id -> Int8,
        account_id -> Uuid,
        payment_id -> Uuid,
        tariff_id -> Uuid,
        #[max_length = 3]
        currency -> Bpchar,
        amount -> Int8,
        starts_on -> Date,
        ends_on -> Date,
        known_on -> Date,
        cut_on -> Nullable<Date>,
        last_on -> Date,
    }
}

diesel::table! {
    difference (id) {
        id -> Uuid,
        kind -> Text,
        subject -> Text,
        created_at -> Timestamptz,
        found_by -> Uuid,
        seen_at -> Timestamptz,
        seen_by -> Uuid,
        at -> Timestamptz,
        transaction_id -> Nullable<Int8>,
        payment_id -> Nullable<Uuid>,
        account_id -> Nullable<Text>,
        invoice_id -> Nullable<Text>,
        our_amount -> Nullable<Int8>,
        their_amount -> Nullable<Int8>,
        our_currency -> Nullable<Text>,
        their_currency -> Nullable<Text>,
        our_state -> Nullable<Text>,
        their_status -> Nullable<Text>,
        state -> Text,
        decided_at -> Nullable<Timestamptz>,
        decided_by -> Nullable<Text>,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    encryption_key (id) {
        id -> Text,
        first_seen_at -> Timestamptz,
        proof -> Nullable<Text>,
        unused_since -> Nullable<Timestamptz>,
        needed_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    event (id, at) {
        id -> Int8,
        at -> Timestamptz,
        kind -> Text,
        account_id -> Nullable<Uuid>,
        bill_id -> Nullable<Uuid>,
        payment_id -> Nullable<Uuid>,
        from_state -> Nullable<Text>,
        to_state -> Nullable<Text>,
        source -> Text,
        task_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        detail -> Jsonb,
        is_public -> Bool,
        position -> Nullable<Int8>,
    }
}

diesel::table! {
    event_log (is_one) {
        is_one -> Bool,
        epoch -> Uuid,
        last_position -> Int8,
        dropped_position -> Int8,
    }
}

diesel::table! {
    event_reader (name) {
        name -> Text,
        epoch -> Uuid,
        position -> Int8,
    }
}

diesel::table! {
    gateway_call (id, started_at) {
        id -> Uuid,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        payment_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        path -> Text,
        task_id -> Nullable<Text>,
        attempt -> Int4,
        worker -> Nullable<Text>,
        http_status -> Nullable<Int4>,
        outcome -> Nullable<Text>,
        request -> Nullable<Text>,
        response -> Nullable<Text>,
    }
}

diesel::table! {
    gateway_chargeback (chargeback_id) {
        chargeback_id -> Text,
        transaction_id -> Int8,
        amount -> Nullable<Int8>,
        currency -> Nullable<Text>,
        kind -> Nullable<Text>,
        operation -> Nullable<Text>,
        at -> Timestamptz,
        listed_at -> Timestamptz,
    }
}

diesel::table! {
    gateway_transaction (transaction_id) {
        transaction_id -> Int8,
        created_at -> Timestamptz,
        operation -> Text,
        status -> Nullable<Text>,
        amount -> Nullable<Int8>,
        currency -> Nullable<Text>,
        invoice_id -> Nullable<Text>,
        invoice_no -> Nullable<Int8>,
        account_id -> Nullable<Text>,
        payment_id -> Nullable<Uuid>,
        bill_id -> Nullable<Uuid>,
        original_id -> Nullable<Int8>,
        refunded -> Nullable<Bool>,
        test_mode -> Nullable<Bool>,
        on_our_terminal -> Bool,
        listed_at -> Timestamptz,
        payout_on -> Nullable<Date>,
        payout_amount -> Nullable<Int8>,
    }
}

diesel::table! {
    journal_entry (id) {
        id -> Int8,
        day -> Date,
        at -> Timestamptz,
        kind -> Text,
        key -> Text,
        #[max_length = 3]
        currency -> Bpchar,
        account_id -> Nullable<Uuid>,
        bill_id -> Nullable<Uuid>,
        payment_id -> Nullable<Uuid>,
        tariff_id -> Nullable<Uuid>,
        transaction_id -> Nullable<Int8>,
        written_in -> Int8,
    }
}

diesel::table! {
    journal_line (entry_id, no) {
        entry_id -> Int8,
        no -> Int4,
        account -> Text,
        amount -> Int8,
    }
}

diesel::table! {
    notification (kind, gateway_id, body_sha256) {
        kind -> Text,
        gateway_id -> Text,
        body_sha256 -> Bytea,
        received_at -> Timestamptz,
        told -> Jsonb,
        transaction_id -> Nullable<Int8>,
        token -> Nullable<Text>,
        payment_id -> Nullable<Uuid>,
        effect -> Nullable<Text>,
        effected_at -> Nullable<Timestamptz>,
        tries -> Int4,
        try_at -> Timestamptz,
    }
}

diesel::table! {
    orphan (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        payment_id -> Nullable<Uuid>,
        transaction_id -> Int8,
        what -> Text,
        status -> Nullable<Text>,
        invoice_id -> Nullable<Text>,
        account_id -> Nullable<Text>,
        amount -> Nullable<Int8>,
        currency -> Nullable<Text>,
        test_mode -> Nullable<Bool>,
    }
}

diesel::table! {
    payment (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        is_success -> Nullable<Bool>,
        bill_id -> Uuid,
        info -> Nullable<Text>,
        transaction_id -> Nullable<Int8>,
        state -> Text,
        instrument -> Text,
        amount -> Int8,
        #[max_length = 3]
        currency -> Bpchar,
        request_id -> Text,
        invoice_no -> Int8,
        idempotency_key -> Nullable<Text>,
        request_digest -> Nullable<Bytea>,
        sends -> Int4,
        first_sent_at -> Nullable<Timestamptz>,
        last_sent_at -> Nullable<Timestamptz>,
        posts -> Int4,
        acs_url -> Nullable<Text>,
        pa_req -> Nullable<Text>,
        three_ds_expires_at -> Nullable<Timestamptz>,
        reason_code -> Nullable<Int4>,
        decline_group -> Nullable<Text>,
        reason -> Nullable<Text>,
        cardholder_message -> Nullable<Text>,
        retry_after -> Nullable<Timestamptz>,
        look_again_at -> Nullable<Timestamptz>,
        absent_at -> Nullable<Timestamptz>,
        woken_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        card -> Nullable<Jsonb>,
    }
}

diesel::table! {
    payment_closing (id) {
        id -> Uuid,
        payment_id -> Uuid,
        asked_at -> Timestamptz,
        asked_by -> Text,
        ending -> Text,
        transaction_id -> Nullable<Int8>,
        happened_on -> Nullable<Date>,
        amount -> Nullable<Int8>,
        reason_code -> Nullable<Int4>,
        said -> Text,
        state -> Text,
        ended_at -> Nullable<Timestamptz>,
        ended_by -> Nullable<Text>,
    }
}

diesel::table! {
    receipt (id) {
        payment_id -> Uuid,
        created_at -> Timestamptz,
        sealed -> Nullable<Text>,
        id -> Uuid,
        refund_id -> Nullable<Uuid>,
        kind -> Text,
        way -> Text,
        amount -> Int8,
        due_at -> Nullable<Timestamptz>,
        document -> Nullable<Text>,
        issued_at -> Nullable<Timestamptz>,
        told_at -> Nullable<Timestamptz>,
        covered_by -> Nullable<Uuid>,
        state -> Nullable<Text>,
        request_id -> Nullable<Text>,
        requested_by -> Nullable<Text>,
        sends -> Int4,
        first_sent_at -> Nullable<Timestamptz>,
        last_sent_at -> Nullable<Timestamptz>,
        again_at -> Nullable<Timestamptz>,
        woken_at -> Nullable<Timestamptz>,
        info -> Nullable<Text>,
    }
}

diesel::table! {
    reconciliation (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        kind -> Text,
        asked_by -> Nullable<Text>,
        made_on -> Nullable<Date>,
        range_from -> Timestamptz,
        range_to -> Timestamptz,
        phase -> Text,
        started_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        reading -> Int4,
        next_page -> Int4,
        taught -> Bool,
        is_stable -> Nullable<Bool>,
        cursor_at -> Nullable<Timestamptz>,
        cursor_id -> Nullable<Int8>,
        cursor_payment -> Nullable<Uuid>,
        cursor_difference -> Nullable<Uuid>,
        leased_until -> Timestamptz,
        trouble -> Nullable<Text>,
        fruitless -> Int4,
        pages -> Int4,
        transactions -> Int8,
        payments -> Int8,
        found -> Int8,
        settled -> Int8,
    }
}

diesel::table! {
    refund (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        payment_id -> Uuid,
        amount -> Int8,
        #[max_length = 3]
        currency -> Bpchar,
        state -> Text,
        source -> Text,
        way -> Text,
        effect -> Text,
        reason -> Text,
        requested_by -> Nullable<Text>,
        role -> Nullable<Text>,
        needs_approval -> Bool,
        approved_by -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        client -> Nullable<Text>,
        idempotency_key -> Nullable<Text>,
        digest -> Nullable<Bytea>,
        request_id -> Text,
        gateway_tx_id -> Nullable<Int8>,
        sends -> Int4,
        first_sent_at -> Nullable<Timestamptz>,
        last_sent_at -> Nullable<Timestamptz>,
        look_again_at -> Nullable<Timestamptz>,
        looks -> Int4,
        absent_at -> Nullable<Timestamptz>,
        woken_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        info -> Nullable<Text>,
    }
}

diesel::table! {
    refund_limit (role) {
        role -> Text,
        alone -> Int8,
        approves -> Int8,
    }
}

diesel::table! {
    report_day (day) {
        day -> Date,
        rolled_up_at -> Timestamptz,
    }
}

diesel::table! {
    restore (id) {
        id -> Uuid,
        at -> Timestamptz,
        told_by -> Text,
        since -> Timestamptz,
        epoch -> Uuid,
        invoice_from -> Int8,
        reconciliation_id -> Uuid,
        lifted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    revenue_day (day) {
        day -> Date,
        recognized_at -> Timestamptz,
    }
}

diesel::table! {
    role_push (account_id) {
        account_id -> Uuid,
        role -> Text,
        version -> Int8,
        acknowledged -> Int8,
        due_at -> Timestamptz,
        leased_until -> Nullable<Timestamptz>,
        tries -> Int4,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    saved_view (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        staff_id -> Uuid,
        list -> Text,
        name -> Text,
        query -> Text,
    }
}

diesel::table! {
    secret (name) {
        name -> Text,
        sealed -> Text,
    }
}

diesel::table! {
    setting_change (id) {
        id -> Uuid,
        at -> Timestamptz,
        staff_id -> Uuid,
        name -> Text,
        kind -> Text,
        subject -> Text,
        before -> Jsonb,
        after -> Jsonb,
        digest -> Text,
        reason -> Text,
        takes_back -> Nullable<Uuid>,
    }
}

diesel::table! {
    skipped_period (account_id, begins_at) {
        account_id -> Uuid,
        begins_at -> Timestamptz,
        ends_at -> Timestamptz,
        period_no -> Int4,
        bill_id -> Uuid,
        noticed_at -> Timestamptz,
    }
}

diesel::table! {
    staff (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        name -> Text,
        role -> Text,
        password -> Text,
        is_one_time -> Bool,
        disabled_at -> Nullable<Timestamptz>,
        language -> Nullable<Text>,
        password_always -> Bool,
    }
}

diesel::table! {
    staff_action (id) {
        id -> Uuid,
        at -> Timestamptz,
        staff_id -> Uuid,
        kind -> Text,
        account_id -> Uuid,
        digest -> Text,
        reason -> Text,
    }
}

diesel::table! {
    staff_errand (id) {
        id -> Uuid,
        at -> Timestamptz,
        staff_id -> Uuid,
        kind -> Text,
        target -> Text,
        reason -> Text,
    }
}

diesel::table! {
    staff_factor (staff_id) {
        staff_id -> Uuid,
        created_at -> Timestamptz,
        sealed -> Text,
        confirmed_at -> Nullable<Timestamptz>,
        last_step -> Int8,
    }
}

diesel::table! {
    staff_identity (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        staff_id -> Uuid,
        linked_at -> Timestamptz,
    }
}

diesel::table! {
    staff_invitation (staff_id) {
        staff_id -> Uuid,
        digest -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    staff_recovery_code (digest) {
        digest -> Bytea,
        staff_id -> Uuid,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    staff_session (id) {
        id -> Bytea,
        staff_id -> Uuid,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        address -> Text,
        agent -> Text,
        waits_for_code -> Bool,
        proved_at -> Nullable<Timestamptz>,
        issuer -> Nullable<Text>,
        factor_by_provider -> Bool,
    }
}

diesel::table! {
    staff_sign_in (subject) {
        subject -> Bytea,
        failures -> Int4,
        last_at -> Timestamptz,
        until -> Timestamptz,
    }
}

diesel::table! {
    staff_sign_in_state (state) {
        state -> Bytea,
        used_at -> Timestamptz,
    }
}

diesel::table! {
    tariff (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        name -> Text,
        description -> Text,
        period -> Interval,
        amount -> Int8,
        #[max_length = 3]
        currency -> Bpchar,
        is_active -> Bool,
        role -> Nullable<Text>,
        trial_days -> Nullable<Int4>,
        trial_amount -> Nullable<Int8>,
        #[max_length = 3]
        trial_currency -> Nullable<Bpchar>,
        two_stages -> Bool,
        confirm_after -> Int4,
    }
}

diesel::table! {
    tariff_price (tariff_id, effective_from) {
        tariff_id -> Uuid,
        effective_from -> Timestamptz,
        amount -> Int8,
        #[max_length = 3]
        currency -> Bpchar,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    tariff_vat (tariff_id, effective_from) {
        tariff_id -> Uuid,
        effective_from -> Timestamptz,
        percent -> Nullable<Int4>,
        created_at -> Timestamptz,
        set_by -> Text,
        method -> Int4,
        object -> Int4,
    }
}

diesel::table! {
    trial (account_id) {
        account_id -> Uuid,
        bill_id -> Uuid,
        began_at -> Timestamptz,
        card_hash -> Nullable<Bytea>,
        ends_at -> Timestamptz,
    }
}

diesel::table! {
    tries (payment_id) {
        payment_id -> Uuid,
        unprocessed -> Int4,
        looks -> Int4,
    }
}

diesel::joinable!(api_request -> account (account_id));
diesel::joinable!(api_request -> payment (payment_id));
diesel::joinable!(attempt_card -> card (card_id));
diesel::joinable!(attempt_card -> payment (payment_id));
diesel::joinable!(audit_log -> staff (staff_id));
diesel::joinable!(bill -> account (account_id));
diesel::joinable!(bill -> tariff (tariff_id));
diesel::joinable!(bulk -> staff (staff_id));
diesel::joinable!(bulk_item -> account (account_id));
diesel::joinable!(bulk_item -> bulk (bulk_id));
diesel::joinable!(bulk_item -> payment (payment_id));
diesel::joinable!(bulk_item -> refund (refund_id));
diesel::joinable!(card -> account (account_id));
diesel::joinable!(chargeback -> payment (payment_id));
diesel::joinable!(closed_balance -> closed_month (month));
diesel::joinable!(decline_rule -> decline_schedule (decline_group));
diesel::joinable!(difference -> payment (payment_id));
diesel::joinable!(notification -> payment (payment_id));
diesel::joinable!(orphan -> payment (payment_id));
diesel::joinable!(payment -> bill (bill_id));
diesel::joinable!(payment_closing -> payment (payment_id));
diesel::joinable!(receipt -> payment (payment_id));
diesel::joinable!(receipt -> refund (refund_id));
diesel::joinable!(refund -> payment (payment_id));
diesel::joinable!(restore -> reconciliation (reconciliation_id));
diesel::joinable!(saved_view -> staff (staff_id));
diesel::joinable!(setting_change -> staff (staff_id));
diesel::joinable!(skipped_period -> account (account_id));
diesel::joinable!(skipped_period -> bill (bill_id));
diesel::joinable!(staff_action -> account (account_id));
diesel::joinable!(staff_action -> staff (staff_id));
diesel::joinable!(staff_errand -> staff (staff_id));
diesel::joinable!(staff_factor -> staff (staff_id));
diesel::joinable!(staff_identity -> staff (staff_id));
diesel::joinable!(staff_invitation -> staff (staff_id));
diesel::joinable!(staff_recovery_code -> staff (staff_id));
diesel::joinable!(staff_session -> staff (staff_id));
diesel::joinable!(tariff_price -> tariff (tariff_id));
diesel::joinable!(tariff_vat -> tariff (tariff_id));
diesel::joinable!(trial -> account (account_id));
diesel::joinable!(trial -> bill (bill_id));
diesel::joinable!(tries -> payment (payment_id));

diesel::allow_tables_to_appear_in_same_query!(
    account,
    api_request,
    attempt_card,
    audit_log,
    bill,
    bulk,
    bulk_item,
    card,
    chargeback,
    circuit,
    closed_balance,
    closed_month,
    daily_figure,
    decline_change,
    decline_rule,
    decline_schedule,
    deferral,
    difference,
    encryption_key,
    event,
    event_log,
    event_reader,
    gateway_call,
    gateway_chargeback,
    gateway_transaction,
    journal_entry,
    journal_line,
    notification,
    orphan,
    payment,
    payment_closing,
    receipt,
    reconciliation,
    refund,
    refund_limit,
    report_day,
    restore,
    revenue_day,
    role_push,
    saved_view,
    secret,
    setting_change,
    skipped_period,
    staff,
    staff_action,
    staff_errand,
    staff_factor,
    staff_identity,
    staff_invitation,
    staff_recovery_code,
    staff_session,
    staff_sign_in,
    staff_sign_in_state,
    tariff,
    tariff_price,
    tariff_vat,
    trial,
    tries,
);
