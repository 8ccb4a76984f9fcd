-- Sixty days of a shop, for the reports: what `reports::roll_up` makes of rows is tested where it stands.
insert into report_day select current_date - n, now() from generate_series(1, 60) as n;
insert into daily_figure (day, figure, label, tariff_id, currency, count, amount)
select current_date - n, figure, label, id, 'RUB', count, amount
from generate_series(1, 60) as n
    cross join (select id, row_number() over (order by amount) as place from tariff) as tariff
    cross join lateral (values
        ('taken', '', 40 - n / 3, (40 - n / 3) * 39900 * place),
        ('given_back', '', n % 3, n % 3 * 39900),
        ('earned', '', 1, (900 - 9 * n + n % 7 * 20) * 1300 * place),
        ('deferred', '', 2, (40 - n / 3) * 39900 * place - (900 - 9 * n) * 1300 * place),
        ('vat', '', 1, (40 - n / 3) * 7195),
        ('paying', '', 900 - 9 * n + n % 7, (900 - 9 * n) * 32705 * place),
        ('trial', '', 30 + n % 11, 0),
        ('gained', 'new', 12 + n % 5, (12 + n % 5) * 32705),
        ('gained', 'left', 3 + n % 2, -(3 + n % 2) * 32705),
        ('gained', 'lapsed', 1 + n % 3, -(1 + n % 3) * 32705),
        ('attempt', 'cryptogram:succeeded', 20 + n % 6, 20 * 39900),
        ('attempt', 'cryptogram:customer_action', 4, 4 * 39900),
        ('attempt', 'token:succeeded', 60 - n / 2, 60 * 39900),
        ('attempt', 'token:soft', 6 + n % 4, 6 * 39900),
        ('refused', '5051', 6 + n % 4, 6 * 39900),
        ('refused', '5054', 1 + n % 2, 39900),
        ('recovered', '5051:1', 3 + n % 3, 3 * 39900),
        ('recovered', '5051:2', 1, 39900),
        ('call', 'ok:500', 70 - n / 2, (70 - n / 2) * 380),
        ('call', 'ok:1000', 12, 12 * 720),
        ('call', 'declined:500', 8 + n % 4, (8 + n % 4) * 310),
        ('call', 'unknown:60000', n % 9 / 8, n % 9 / 8 * 60000)
    ) as made (figure, label, count, amount);
insert into daily_figure (day, figure, label, currency, count, amount)
select ends.day::date, 'cohort', to_char(came.month, 'YYYY-MM'), 'RUB',
    (400 * power(0.82, months))::int, (400 * power(0.82, months))::int * 32705
from generate_series(date_trunc('month', current_date) - interval '4 months', date_trunc('month', current_date)
        - interval '1 month', interval '1 month') as came (month)
    cross join generate_series(0, 4) as months
    cross join lateral (select came.month + (months + 1) * interval '1 month' - interval '1 day') as ends (day)
where ends.day < date_trunc('month', current_date);
