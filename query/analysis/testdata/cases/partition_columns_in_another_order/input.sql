SELECT * FROM sales_rest_1 AS x (a, b, c, d) WHERE x.a = 'k' AND x.c = 'east'
