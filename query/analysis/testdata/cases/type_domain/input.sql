SELECT id FROM kinds WHERE dom = 'a' AND pos = 1
