SELECT id FROM secret WHERE owner = 'me'
