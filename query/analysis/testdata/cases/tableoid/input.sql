SELECT tableoid::regclass::text AS of FROM blogs WHERE id = 1
