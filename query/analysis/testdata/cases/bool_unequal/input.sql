SELECT title FROM blogs WHERE draft <> true
