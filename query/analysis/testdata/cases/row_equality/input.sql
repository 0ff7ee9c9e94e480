SELECT title FROM blogs WHERE (id, status) = (1, 'a')
