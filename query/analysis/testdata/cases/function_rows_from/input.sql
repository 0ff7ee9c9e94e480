SELECT x.a FROM blogs b CROSS JOIN ROWS FROM (unnest(b.tags), generate_series(1, b.views)) WITH ORDINALITY AS x(a, n, o) WHERE b.id = 1
