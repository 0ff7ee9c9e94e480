SELECT count(q.*) FROM quizzes q
