SELECT id FROM scratch
