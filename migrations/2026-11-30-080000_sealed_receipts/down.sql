drop index receipt_sealed;
