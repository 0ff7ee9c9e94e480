SELECT 1 FROM blogs JOIN (SELECT * FROM generate_series(1, 2) AS g(id)) g USING (id) WHERE id = 1
