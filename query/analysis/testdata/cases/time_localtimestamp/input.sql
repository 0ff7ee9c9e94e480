SELECT localtimestamp(0), title FROM quizzes
