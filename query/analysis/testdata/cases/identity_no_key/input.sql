SELECT a FROM no_key WHERE b = 1
