SELECT id FROM kinds WHERE ts = $1::timestamp
