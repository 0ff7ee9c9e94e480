-- params: {1..30}
SELECT abalance FROM pgbench_accounts WHERE aid = $1::int;

-- params: {1..6}
SELECT t.tbalance, b.bbalance FROM pgbench_tellers t JOIN pgbench_branches b USING (bid) WHERE t.tid = $1::int;

-- params: {1..30}
SELECT count(*), sum(delta) FROM pgbench_history WHERE aid = $1::int;

SELECT bid, sum(abalance) FROM pgbench_accounts GROUP BY bid;
