SELECT p.tableoid::oid FROM sales_rest p WHERE p.id = 1
