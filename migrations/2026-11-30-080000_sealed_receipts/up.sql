-- Receipts whose attempts have not ended: what `billing keys rotate` seals anew.
create index receipt_sealed on receipt (payment_id) where sealed is not null;
