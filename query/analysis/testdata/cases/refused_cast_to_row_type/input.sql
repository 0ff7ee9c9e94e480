SELECT to_jsonb(jsonb_populate_record(NULL::sales, '{}')) AS val FROM sales s WHERE s.id = 1
