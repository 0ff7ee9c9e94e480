SELECT title FROM blogs WHERE NOT draft AND id = 1
