SELECT tableoid::regclass::text AS of FROM sales WHERE id = 1
