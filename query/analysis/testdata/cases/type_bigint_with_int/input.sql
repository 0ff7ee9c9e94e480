SELECT id FROM kinds WHERE bi = $1::integer
