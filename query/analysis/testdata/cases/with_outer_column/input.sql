SELECT (WITH x AS (SELECT name FROM users WHERE handle = b.author) SELECT name FROM x) FROM blogs b WHERE b.id = 1
