SELECT id FROM scratches
