SELECT id FROM kinds WHERE vc = $1::varchar(3)
