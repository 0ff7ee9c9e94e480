SELECT (q).title FROM quizzes q
