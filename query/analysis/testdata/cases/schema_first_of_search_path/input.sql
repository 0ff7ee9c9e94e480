SELECT title FROM blogs WHERE blogs.id = 1
