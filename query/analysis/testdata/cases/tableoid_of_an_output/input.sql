SELECT q.tableoid FROM (SELECT id AS tableoid FROM sales) q WHERE q.tableoid = 1
