SELECT b.title FROM blogs b CROSS JOIN users u WHERE u.id = 1
