SELECT b.title, u.name FROM blogs b FULL JOIN users u ON u.handle = b.author WHERE b.id = 1
