SELECT users.title FROM blogs users WHERE users.id = 1
