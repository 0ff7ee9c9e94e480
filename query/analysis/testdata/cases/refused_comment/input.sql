SELECT obj_description('blogs'::regclass)
