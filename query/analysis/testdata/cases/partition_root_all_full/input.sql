SELECT day FROM sales WHERE id = 1 AND k = 'x'
