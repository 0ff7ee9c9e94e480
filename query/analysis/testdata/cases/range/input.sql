SELECT title FROM blogs WHERE id <= 5
