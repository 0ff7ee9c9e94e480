SELECT title FROM blogs WHERE id NOT IN (1, 2)
