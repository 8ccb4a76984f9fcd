do $$
begin
    if exists (select from bill where kind = 'change' and status in ('Not paid', 'In work')) then
        raise exception 'a change of tariff at once is under way: an older program would take its money for a purchase'
            using hint = 'Wait until it is paid or void (select * from bill where kind = ''change''), then go down again.';
    end if;
end
$$;
-- What older programs do not know of is history: it stays, in words that they know. A tariff that was bought at once is a
-- purchase.
update bill set kind = 'primary' where kind = 'change';
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
