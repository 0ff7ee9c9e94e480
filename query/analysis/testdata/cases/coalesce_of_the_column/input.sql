SELECT title FROM blogs WHERE coalesce(author, 'x') = 'x'
