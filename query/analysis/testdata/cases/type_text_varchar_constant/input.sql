SELECT id FROM kinds WHERE t = 'x'::varchar
