WITH RECURSIVE a AS (SELECT id FROM blogs), blogs AS (SELECT id FROM users WHERE id = 1) SELECT id FROM a
