-- What a refusal means: rows, so that the staff can change it while the program runs. The rules that hold whatever stands
-- here are in the program (`decline.rs`).
create table decline_schedule (
    decline_group text primary key check (
        decline_group in ('hard', 'soft', 'technical', 'conditional', 'customer_action', 'configuration')
    ),
    -- Hours after the first refusal at which a try may follow.
    hours jsonb not null check (jsonb_typeof(hours) = 'array' and jsonb_array_length(hours) <= 8),
    -- A card that is barred is not charged again.
    check (decline_group not in ('hard', 'customer_action') or hours = '[]')
);
insert into decline_schedule (decline_group, hours) values
    ('hard', '[]'),
    ('soft', '[29, 72, 120, 164]'),
    ('technical', '[2, 26]'),
    ('conditional', '[29]'),
    ('customer_action', '[]'),
    ('configuration', '[29]');

create table decline_rule (
    -- The gateway's reason code.
    code integer primary key,
    decline_group text not null references decline_schedule,
    max_retries integer not null check (max_retries between 0 and 8),
    customer_action text not null check (
        customer_action in ('wait', 'top_up', 'raise_limit', 'check_card', 'confirm', 'other_card', 'call_bank')
    ),
    -- What the customer is told.
    message_en text not null check (length(message_en) between 1 and 300),
    message_ru text not null check (length(message_ru) between 1 and 300),
    check (decline_group not in ('hard', 'customer_action') or max_retries = 0)
);
insert into decline_rule select code, 'configuration', 1, 'wait', 'The charge failed for a reason on our side.', 'Списание не удалось по причине на нашей стороне.'
    from unnest(array[3001, 3002, 3003, 3004, 3005, 3006, 3007, 3008, 6001, 6002, 6003, 6004, 6005, 6006, 6007, 6008, 6009, 6010, 6011, 6013, 6014, 6015, 6016, 6017, 6021, 6022, 6025]) as code;
insert into decline_rule select code, 'hard', 0, 'other_card', 'The bank does not allow this card to be charged.', 'Банк не разрешает списания с этой карты.'
    from unnest(array[5001, 5003, 5004, 5005, 5007, 5012, 5015, 5017, 5031, 5034, 5036, 5041, 5043, 5057, 5062, 5113]) as code;
insert into decline_rule select code, 'conditional', 1, 'call_bank', 'The bank declined the charge.', 'Банк отклонил списание.'
    from unnest(array[5006, 5013, 5019, 5030, 5055, 5058, 5059, 5063, 5204, 5300]) as code;
insert into decline_rule select code, 'customer_action', 0, 'check_card', 'The card''s data were not accepted.', 'Данные карты не приняты.'
    from unnest(array[5014, 5761, 5762, 5763]) as code;
insert into decline_rule select code, 'hard', 0, 'other_card', 'The card has expired.', 'Срок действия карты истёк.'
    from unnest(array[5033]) as code;
insert into decline_rule select code, 'soft', 4, 'top_up', 'There was not enough money on the card.', 'На карте недостаточно средств.'
    from unnest(array[5051]) as code;
insert into decline_rule select code, 'customer_action', 0, 'other_card', 'The card has expired.', 'Срок действия карты истёк.'
    from unnest(array[5054]) as code;
insert into decline_rule select code, 'soft', 4, 'raise_limit', 'A limit of the card was reached.', 'Превышен лимит операций по карте.'
    from unnest(array[5061, 5065]) as code;
insert into decline_rule select code, 'hard', 0, 'check_card', 'The card''s data were not accepted.', 'Данные карты не приняты.'
    from unnest(array[5082]) as code;
insert into decline_rule select code, 'technical', 2, 'wait', 'The bank could not be reached.', 'Банк не ответил.'
    from unnest(array[5091, 5092, 5096]) as code;
insert into decline_rule select code, 'customer_action', 0, 'confirm', 'The bank wants the payment to be confirmed.', 'Банк требует подтвердить платёж.'
    from unnest(array[5206, 5207]) as code;
insert into decline_rule select code, 'soft', 4, 'wait', 'The bank takes no more payments for now.', 'Банк пока не принимает платежи.'
    from unnest(array[5303]) as code;

-- Who changed what, when and why. A change that is taken back is a change of its own.
create table decline_change (
    version bigint generated always as identity primary key,
    at timestamptz not null,
    actor text not null check (length(actor) between 1 and 100),
    reason text not null check (length(reason) between 1 and 1000),
    -- `rule:5051` or `schedule:soft`.
    subject text not null check (length(subject) <= 40),
    -- As it was; null: there was no row.
    before jsonb,
    -- As it is from then on; null: there is no row.
    after jsonb
);
create index decline_change_of_subject on decline_change (subject, version);

create function decline_change_is_append_only() returns trigger
    language plpgsql as $$
begin
    raise exception 'the changes of the decline rules are append-only' using errcode = 'restrict_violation';
end
$$;
create trigger decline_change_is_never_changed before update or delete on decline_change
    for each row execute function decline_change_is_append_only();
create trigger decline_change_is_never_emptied before truncate on decline_change
    for each statement execute function decline_change_is_append_only();
