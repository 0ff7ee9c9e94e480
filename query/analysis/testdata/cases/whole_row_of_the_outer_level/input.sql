SELECT (SELECT count(*) FROM users u WHERE u.name = q::text) FROM quizzes q
