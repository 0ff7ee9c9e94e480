SELECT relname FROM pg_class
