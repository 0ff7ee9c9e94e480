TABLE quizzes
