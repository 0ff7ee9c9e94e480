SELECT id FROM kinds WHERE bi = '42'
