SELECT nextval('counter')
