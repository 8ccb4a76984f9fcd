alter table bill drop constraint bill_kind_check;
alter table bill add constraint bill_kind_check check (kind in ('primary', 'renewal', 'verification'));
drop index account_card_to_announce;
drop index account_price_to_announce;
drop index account_renewal_to_announce;
drop function card_expires(jsonb);
drop trigger account_is_told_anew on account;
drop function account_is_told_anew();
alter table account
    drop column told_card, drop column told_price_from, drop column told_period_no, drop column pending_tariff_id;
drop table tariff_price;
