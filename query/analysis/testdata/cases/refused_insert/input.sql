INSERT INTO quizzes (id) VALUES (1)
