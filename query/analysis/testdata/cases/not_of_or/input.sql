SELECT title FROM blogs WHERE NOT (id <> 1 OR views <> 2)
