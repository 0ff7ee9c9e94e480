SELECT title, (SELECT name FROM users WHERE id = 3) FROM blogs WHERE id = 1
