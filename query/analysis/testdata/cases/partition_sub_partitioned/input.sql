SELECT k FROM sales_rest WHERE id = 1
