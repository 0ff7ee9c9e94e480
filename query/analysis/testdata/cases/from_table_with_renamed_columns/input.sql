SELECT x.b FROM quizzes AS x(a, b) WHERE x.a = 1
