SELECT (SELECT u.id AS views FROM users u ORDER BY views + u.id LIMIT 1) FROM blogs
