SELECT id FROM private_1
