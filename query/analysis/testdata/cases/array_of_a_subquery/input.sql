SELECT ARRAY(SELECT title FROM blogs WHERE author = u.handle ORDER BY views) FROM users u WHERE id = 1
