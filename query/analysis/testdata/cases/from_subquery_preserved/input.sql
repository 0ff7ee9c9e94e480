SELECT u.name, c.id FROM (SELECT id, author FROM blogs) c LEFT JOIN users u ON u.handle = c.author AND c.author = 'x'
