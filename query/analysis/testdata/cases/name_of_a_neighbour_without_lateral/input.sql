SELECT (SELECT count(*) FROM quizzes q, (SELECT u.id FROM users u WHERE u.name = title) s) FROM blogs
