SELECT title FROM blogs WHERE ((id = 1 AND ((status = 'a'))))
