SELECT title FROM blogs WHERE id IN (1, 2) AND id = 3
