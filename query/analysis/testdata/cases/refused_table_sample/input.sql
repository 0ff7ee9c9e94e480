SELECT id FROM blogs TABLESAMPLE bernoulli (10)
