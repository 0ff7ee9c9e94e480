SELECT p.b FROM published AS p(a, b, c) WHERE p.c = 'k'
