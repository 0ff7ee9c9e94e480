SELECT b.title FROM blogs b LEFT JOIN (users u LEFT JOIN attempts a ON a.user_id = u.id AND u.active) ON u.handle = b.author AND a.quiz_id = 3
