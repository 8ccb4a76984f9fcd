alter table tariff drop column confirm_after;
