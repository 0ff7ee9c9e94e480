SELECT r.k FROM sales r JOIN sales_east p ON p.id = r.id WHERE r.id = $1::bigint
