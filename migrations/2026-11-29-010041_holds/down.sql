drop index payment_held;
