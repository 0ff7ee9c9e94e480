SELECT id, day FROM sales WHERE region = $1::text
