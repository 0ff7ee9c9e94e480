SELECT u.name, p.title FROM users u LEFT JOIN published p ON p.author = u.handle WHERE u.handle = 'k'
