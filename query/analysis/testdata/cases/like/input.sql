SELECT title FROM blogs WHERE slug LIKE 'x'
