VALUES (1, 'a'), (2, (SELECT title FROM blogs WHERE id = 1))
