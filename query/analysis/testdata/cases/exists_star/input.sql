SELECT u.name FROM users u WHERE EXISTS (SELECT * FROM quizzes WHERE id = 2)
