WITH x AS (SELECT id FROM users) SELECT s.id FROM (WITH x AS (SELECT id FROM blogs) SELECT id FROM x WHERE id = 1) s
