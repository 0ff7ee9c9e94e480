SELECT (SELECT count(*) FROM users WHERE handle = author) FROM blogs
