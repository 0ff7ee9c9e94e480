SELECT headline FROM published_by WHERE writer = 'k'
