SELECT title FROM blogs WHERE NOT (id = 1)
