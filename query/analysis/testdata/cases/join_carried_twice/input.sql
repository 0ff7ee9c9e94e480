SELECT 1 FROM attempts a, users u, quizzes q WHERE a.id = u.id AND u.id = q.id AND q.id = 7
