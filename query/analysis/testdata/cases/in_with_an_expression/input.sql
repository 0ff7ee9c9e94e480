SELECT title FROM blogs WHERE id IN (1, 1 + 1)
