SELECT title FROM blogs WHERE id = NULL
