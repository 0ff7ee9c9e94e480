SELECT id FROM ledger_old WHERE k = 'x'
