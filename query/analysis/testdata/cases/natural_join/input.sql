SELECT slug FROM blogs NATURAL JOIN quizzes
