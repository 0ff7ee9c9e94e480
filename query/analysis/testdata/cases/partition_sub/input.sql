SELECT k FROM sales_rest_0 WHERE day = '2024-01-31'
