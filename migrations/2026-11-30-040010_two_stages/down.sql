alter table bill drop column two_stages;
alter table tariff drop column two_stages;
