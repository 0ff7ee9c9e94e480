SELECT * FROM quizzes WHERE id = 1
