SELECT x.tableoid::text FROM sales AS x (a) WHERE x.a = 1
