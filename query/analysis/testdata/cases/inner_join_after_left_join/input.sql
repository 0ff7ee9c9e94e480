SELECT b.title FROM blogs b LEFT JOIN users u ON u.handle = b.author JOIN quizzes q ON q.id = b.views AND u.active
