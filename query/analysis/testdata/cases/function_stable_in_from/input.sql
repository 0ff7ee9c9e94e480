SELECT title FROM blogs_of('k')
