SELECT a.score, q.title FROM attempts a JOIN users u ON u.id = a.user_id JOIN quizzes q ON q.id = a.quiz_id WHERE a.user_id = $1::bigint
