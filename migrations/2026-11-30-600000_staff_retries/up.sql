alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check
    check (kind in ('cancel', 'resume', 'forget_card', 'extend', 'ask_gateway', 'change_tariff', 'retry_now'));
