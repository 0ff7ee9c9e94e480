SELECT id FROM latest WHERE author = 'k'
