SELECT id FROM kinds WHERE by = '\x01'
