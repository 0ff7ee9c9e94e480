SELECT p.title FROM published p JOIN published q ON q.title = p.title WHERE p.author = 'a' AND q.author = 'b'
