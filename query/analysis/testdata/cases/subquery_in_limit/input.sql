SELECT title FROM blogs ORDER BY id LIMIT (SELECT count(*) FROM users WHERE active)
