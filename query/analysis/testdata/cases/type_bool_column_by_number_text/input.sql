SELECT id FROM kinds WHERE b = '1'
