SELECT slug FROM blogs LEFT JOIN quizzes USING (id) WHERE quizzes.topic = 'x'
