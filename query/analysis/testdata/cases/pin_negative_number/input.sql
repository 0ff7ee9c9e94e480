SELECT title FROM blogs WHERE views = -1
