SELECT title FROM blogs WHERE lower(author) = 'x'
