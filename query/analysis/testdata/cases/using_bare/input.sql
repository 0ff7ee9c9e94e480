SELECT slug FROM blogs JOIN quizzes USING (id) WHERE id = 1
