-- An ordinary comment, and a link: https://example.org/a.
-- name: depends_forms
-- route: GET /a/{who}/b/:kind
-- param: who text
-- param: kind int
-- param: flag bool = TRUE
-- result: one
-- depends: blogs(flag, author = :who), public.users()
-- depends: "Odd.Table"("Odd ""Column""" = 'it''s, (fine)', n = -007, b = true), App.Things (kind)
SELECT :flag AND :kind > 0 OR :who = :who
