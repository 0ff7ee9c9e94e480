SELECT id FROM kinds WHERE bi = '5'::smallint
