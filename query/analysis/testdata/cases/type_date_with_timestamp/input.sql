SELECT id FROM kinds WHERE d = $1::timestamp
