SELECT id FROM parent
