-- New order.
INSERT INTO orders SELECT d_next_o_id, {d:1..2}, {w:1..2}, {c:1..3}, '2024-01-02', NULL, 1 FROM district WHERE d_w_id = {w} AND d_id = {d};
INSERT INTO new_order SELECT d_next_o_id, {d}, {w} FROM district WHERE d_w_id = {w} AND d_id = {d};
INSERT INTO order_line SELECT d_next_o_id, {d}, {w}, 1, {i:1..5}, {w}, NULL, {q:1..3}, {q} FROM district WHERE d_w_id = {w} AND d_id = {d};
UPDATE stock SET s_quantity = CASE WHEN s_quantity > 5 THEN s_quantity - {q} ELSE s_quantity + 10 END, s_ytd = s_ytd + {q}, s_order_cnt = s_order_cnt + 1
    WHERE s_w_id = {w} AND s_i_id = {i};
UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE d_w_id = {w} AND d_id = {d};

-- Payment.
UPDATE warehouse SET w_ytd = w_ytd + {h:1..50} WHERE w_id = {w:1..2};
UPDATE district SET d_ytd = d_ytd + {h} WHERE d_w_id = {w} AND d_id = {d:1..2};
UPDATE customer SET c_balance = c_balance - {h}, c_payment_cnt = c_payment_cnt + 1 WHERE c_w_id = {w} AND c_d_id = {d} AND c_id = {c:1..3};

-- Delivery.
UPDATE orders SET o_carrier_id = {1..9} WHERE (o_w_id, o_d_id, o_id) IN (SELECT no_w_id, no_d_id, min(no_o_id) FROM new_order WHERE no_w_id = {w:1..2} GROUP BY 1, 2);
UPDATE order_line SET ol_delivery_d = '2024-01-03' WHERE (ol_w_id, ol_d_id, ol_o_id) IN (SELECT no_w_id, no_d_id, min(no_o_id) FROM new_order WHERE no_w_id = {w} GROUP BY 1, 2);
DELETE FROM new_order WHERE (no_w_id, no_d_id, no_o_id) IN (SELECT no_w_id, no_d_id, min(no_o_id) FROM new_order WHERE no_w_id = {w} GROUP BY 1, 2);

-- A new price.
UPDATE item SET i_price = i_price + 1 WHERE i_id = {1..5};
