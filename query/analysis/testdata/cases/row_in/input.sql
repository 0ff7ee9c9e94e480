SELECT title FROM blogs WHERE (id, status) IN ((1, 'a'))
