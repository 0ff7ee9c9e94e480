SELECT k FROM sales_east WHERE id = 1
