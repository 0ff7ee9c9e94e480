SELECT title FROM blogs WHERE id = $1
