SELECT b.title FROM users u RIGHT JOIN blogs b ON u.handle = b.author AND u.active AND b.draft
