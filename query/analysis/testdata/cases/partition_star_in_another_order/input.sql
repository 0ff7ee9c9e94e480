SELECT q.d FROM (SELECT * FROM sales_rest_1) AS q (a, b, c, d) WHERE q.a = 'k' AND q.c = 'east'
