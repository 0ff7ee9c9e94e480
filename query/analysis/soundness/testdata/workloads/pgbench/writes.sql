UPDATE pgbench_accounts SET abalance = abalance + {d:-50..50} WHERE aid = {a:1..30};
UPDATE pgbench_tellers SET tbalance = tbalance + {d} WHERE tid = {t:1..6};
UPDATE pgbench_branches SET bbalance = bbalance + {d} WHERE bid = {b:1..2};
INSERT INTO pgbench_history VALUES ({t}, {b}, {a}, {d}, '2024-01-01');

UPDATE pgbench_accounts SET abalance = abalance + {d:-50..50} WHERE aid = {a:1..30};

UPDATE pgbench_accounts SET filler = '{x|y}' WHERE aid = {a:1..30};

DELETE FROM pgbench_history WHERE aid = {a:1..30};
