SELECT b FROM blogs b WHERE b.id = 1
