SELECT id FROM scratch_1
