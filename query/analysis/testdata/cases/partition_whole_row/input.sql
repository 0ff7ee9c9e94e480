SELECT s FROM sales_east s WHERE s.id = 1
