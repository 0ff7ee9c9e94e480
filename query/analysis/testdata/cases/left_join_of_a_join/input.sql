SELECT b.title, a.score FROM blogs b LEFT JOIN (users u JOIN attempts a ON a.user_id = u.id AND a.quiz_id = 3) ON u.handle = b.author
