SELECT title FROM blogs WHERE (id = 1 OR slug = 'x') AND status = 'a'
