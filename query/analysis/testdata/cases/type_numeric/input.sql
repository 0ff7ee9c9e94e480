SELECT id FROM kinds WHERE n = $1::numeric AND n = 1
