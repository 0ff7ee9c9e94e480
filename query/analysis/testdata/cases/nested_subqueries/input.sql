SELECT name FROM users u WHERE EXISTS (SELECT 1 FROM attempts a WHERE a.user_id = u.id AND a.id = 4 AND EXISTS (SELECT 1 FROM quizzes q WHERE q.id = a.quiz_id AND q.topic = u.country))
