SELECT title FROM blogs WHERE id = 1 OR id = 2
