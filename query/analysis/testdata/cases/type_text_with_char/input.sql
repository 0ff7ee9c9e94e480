SELECT id FROM kinds WHERE t = $1::char(3)
