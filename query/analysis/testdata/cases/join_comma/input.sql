SELECT b.title FROM blogs b, users u WHERE b.author = u.handle AND u.handle = 'x'
