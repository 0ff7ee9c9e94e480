(SELECT id FROM blogs WHERE draft ORDER BY views LIMIT 1) UNION (SELECT id FROM users EXCEPT SELECT id FROM quizzes WHERE topic = 't') ORDER BY id LIMIT 3
