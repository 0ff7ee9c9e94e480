SELECT p.title FROM published p JOIN blogs b ON b.id = p.id WHERE b.id = 4
