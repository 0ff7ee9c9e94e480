SELECT k FROM ledger WHERE id = 1
