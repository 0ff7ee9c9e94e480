SELECT title FROM blogs WHERE id + 0 = 1
