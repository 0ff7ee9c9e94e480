SELECT b.title, u.name FROM blogs b FULL JOIN users u ON u.handle = b.author
