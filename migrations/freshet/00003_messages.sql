-- Transactional logical messages (pg_logical_emit_message) that ride the log in order with the data: what was defined anew, found by
-- event triggers, and what somebody asks to be cleared. Two rules hold for all that runs in somebody else's command: it must not
-- make that command fail, and where it does not know better it says more than has happened, never less.

-- +goose Up

-- The content is UTF-8 whatever the encoding of the database, as the server passes it on unchanged. One that has no UTF-8 form, or is
-- too large to be read back, is cut down to a coarser one.
-- +goose StatementBegin
CREATE FUNCTION freshet.emit(prefix text, schema text, tbl text, pinned jsonb, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    about   jsonb := jsonb_build_object('reason', reason);
    content bytea;
BEGIN
    IF schema IS NOT NULL AND tbl IS NOT NULL THEN
        about := about || jsonb_build_object('schema', schema, 'table', tbl);
        IF pinned IS NOT NULL AND octet_length(pinned::text) < 30000 THEN
            about := about || jsonb_build_object('values', pinned);
        END IF;
    END IF;
    BEGIN
        content := convert_to(about::text, 'UTF8');
    EXCEPTION WHEN OTHERS THEN
        content := '{"reason": "names that are not UTF-8"}';
    END;
    PERFORM pg_logical_emit_message(true, prefix, content);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.emit(text, text, text, jsonb, text) IS 'Emits a message that cdc publishes with the transaction. Without schema and table it is about everything.';

-- The registered tables that are the relation itself, or have it above or below them in their inheritance, as partitions do.
-- +goose StatementBegin
CREATE FUNCTION freshet.registered_relatives(relation oid) RETURNS TABLE (relid oid, schema_name text, table_name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE up(oid) AS (
        SELECT relation UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.oid
    ), down(oid) AS (
        SELECT relation UNION SELECT i.inhrelid FROM pg_inherits i JOIN down ON i.inhparent = down.oid
    )
    SELECT DISTINCT c.oid, s.schema_name, s.table_name
    FROM (SELECT oid FROM up UNION SELECT oid FROM down) family
    JOIN pg_class c ON c.oid = family.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN freshet.shapes s ON s.schema_name = n.nspname::text AND s.table_name = c.relname::text
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.registered_relatives(oid) IS 'The tables of freshet.shapes that a relation is, inherits from, or is inherited by.';

-- Whether the relation has just got its name or its schema, and shares the name with another one elsewhere: what an unqualified name
-- in a query means can then be another table than before. Both a new name and a new schema write the row of its type anew; its
-- age tells whether that was in this transaction, or a subtransaction of it (or, harmlessly, in one not much older).
-- +goose StatementBegin
CREATE FUNCTION freshet.shadows(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_class c
        JOIN pg_type t ON t.oid = c.reltype
        JOIN pg_class other ON other.relname = c.relname AND other.oid <> c.oid
        JOIN pg_namespace n ON n.oid = other.relnamespace
        WHERE c.oid = relation
          AND other.relkind IN ('r', 'p', 'v', 'm', 'f') AND other.relpersistence <> 't'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'freshet')
          AND age(t.xmin) <= age((pg_snapshot_xmin(pg_current_snapshot()))::xid))
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.shadows(oid) IS 'Whether a relation that was created, renamed or moved in this transaction shares its name with one in another schema.';

-- Says of each registered table that the relations stand behind, once, that it is defined anew. One that no longer exists under its
-- name was renamed, moved or dropped.
-- +goose StatementBegin
CREATE FUNCTION freshet.emit_ddl(relations oid[], reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT r.schema_name, r.table_name FROM unnest(relations) AS oid, freshet.registered_relatives(oid) r
        UNION
        SELECT s.schema_name, s.table_name FROM freshet.shapes s
        WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname::text = s.schema_name AND c.relname::text = s.table_name AND c.relkind IN ('r', 'p'))
        ORDER BY 1, 2
    LOOP
        PERFORM freshet.emit('freshet.ddl', one.schema_name, one.table_name, NULL, reason);
    END LOOP;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.emit_ddl(oid[], text) IS 'Emits that the registered tables related to some relations are defined anew, and those that are gone.';

-- The registered tables of which another relation may have been a part until now: who inherited from whom is not recorded any more.
-- +goose StatementBegin
CREATE FUNCTION freshet.registered_parents() RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(DISTINCT c.oid), '{}')
    FROM freshet.shapes s
    JOIN pg_namespace n ON n.nspname::text = s.schema_name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname::text = s.table_name
    WHERE c.relkind = 'p' OR c.relkind = 'r' AND c.relhassubclass
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.registered_parents() IS 'The registered tables that are partitioned, or are or were inherited from.';

-- pgoutput publishes nothing for a TRUNCATE of a partition when the publication has publish_via_partition_root
-- (pgoutput_truncate in src/backend/replication/pgoutput/pgoutput.c). SECURITY DEFINER: whoever may truncate the table need not be
-- allowed to emit messages.
-- +goose StatementBegin
CREATE FUNCTION freshet.truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    root record;
BEGIN
    SELECT n.nspname::text AS schema, c.relname::text AS name INTO root
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = coalesce(pg_partition_root(TG_RELID), TG_RELID);
    PERFORM freshet.emit('freshet.clear', root.schema, root.name, NULL,
        format('TRUNCATE of the partition %s.%s', TG_TABLE_SCHEMA, TG_TABLE_NAME));
    RETURN NULL;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.truncated() IS 'Trigger of partitions, freshet_truncated: emits that what depends on the partitioned table is to be cleared.';

-- The partitions below a table, at every level, whose TRUNCATE would go unnoticed. By the catalog alone: pg_partition_tree would
-- wait for whoever has locked one of them. Foreign tables cannot all have such a trigger, and are refused by Freshet anyway.
-- +goose StatementBegin
CREATE FUNCTION freshet.unguarded_partitions(root oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE below(oid) AS (
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = root
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN below ON i.inhparent = below.oid
    )
    SELECT c.oid FROM below JOIN pg_class c ON c.oid = below.oid
    WHERE c.relispartition AND c.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'freshet_truncated' AND t.tgenabled = 'A')
    ORDER BY 1
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.unguarded_partitions(oid) IS 'The partitions of a table, at every level, that lack the trigger freshet_truncated.';

-- ENABLE ALWAYS, for the sessions of replication too. The event trigger is told, for as long as it takes, that the ALTER TABLE is ours
-- and changes no definition.
-- +goose StatementBegin
CREATE FUNCTION freshet.guard_partition(part oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('freshet.guarding', part::text, true);
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = part AND tgname = 'freshet_truncated') THEN
        EXECUTE format('CREATE TRIGGER freshet_truncated AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION freshet.truncated()', part::regclass);
    END IF;
    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER freshet_truncated', part::regclass);
    PERFORM set_config('freshet.guarding', '', true);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.guard_partition(oid) IS 'Gives one partition the trigger freshet_truncated.';

-- Not SECURITY DEFINER: with the rights and the lock_timeout of the caller, who must own the tables.
-- +goose StatementBegin
CREATE FUNCTION freshet.guard_partitions(root regclass) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part    oid;
    guarded integer := 0;
BEGIN
    FOR part IN SELECT freshet.unguarded_partitions(root) LOOP
        PERFORM freshet.guard_partition(part);
        guarded := guarded + 1;
    END LOOP;
    RETURN guarded;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.guard_partitions(regclass) IS 'Gives the trigger freshet_truncated to each partition of a table, at every level, that lacks it, and returns how many did.';

-- Guards the partitions that this very command made or attached: it holds their strongest lock, so that nobody waits for us or we for
-- anybody. The others are guarded when the table is registered. A failure is left to that as well.
-- +goose StatementBegin
CREATE FUNCTION freshet.guard_new_partitions(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part oid;
BEGIN
    FOR part IN
        SELECT p FROM freshet.registered_relatives(relation) r, freshet.unguarded_partitions(r.relid) p
        WHERE EXISTS (SELECT FROM pg_locks l
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted
              AND l.relation = p AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
    LOOP
        PERFORM freshet.guard_partition(part);
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'Freshet: a TRUNCATE of a new partition of % will not be noticed until the table is registered again: %', relation::regclass, SQLERRM;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.guard_new_partitions(oid) IS 'Guards the partitions of registered tables that the running command has made or attached.';

-- What a command that has ended may have changed the meaning of: 'nothing', 'relation' (its tables), or 'everything'. By what the
-- object is, not by the command's name: ALTER INDEX renames tables too.
-- +goose StatementBegin
CREATE FUNCTION freshet.reach_of_command(class oid, object oid, tag text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
BEGIN
    IF class IS NULL OR tag IN ('GRANT', 'REVOKE', 'COMMENT', 'SECURITY LABEL', 'ALTER DEFAULT PRIVILEGES', 'CREATE SCHEMA',
            'CREATE PUBLICATION', 'REFRESH MATERIALIZED VIEW', 'REINDEX')
        -- A publication that a table is added to: Freshet does that itself. What else is done to one is not passed over.
        OR class IN ('pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_attrdef'::regclass,
            'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass, 'pg_subscription'::regclass) THEN
        RETURN 'nothing';
    END IF;
    IF class <> 'pg_class'::regclass THEN
        RETURN 'everything'; -- functions, types, rules, schemas, extensions, and what a later Postgres may bring
    END IF;
    SELECT relkind INTO kind FROM pg_class WHERE oid = object;
    -- The row type of a table changes with it: columns and functions of that type, elsewhere, are others then.
    IF kind IN ('r', 'p') AND tag = 'ALTER TABLE' AND EXISTS (
        SELECT FROM pg_class c JOIN pg_type t ON t.oid = c.reltype JOIN pg_depend d ON d.refobjid IN (t.oid, t.typarray)
        WHERE c.oid = object AND d.refclassid = 'pg_type'::regclass AND d.deptype <> 'i') THEN
        RETURN 'everything';
    END IF;
    RETURN CASE
        WHEN kind IN ('r', 'p') THEN 'relation'
        WHEN kind IN ('i', 'I', 'S', 't') THEN 'nothing'
        -- Refused by Freshet, but their names can stand before those of tables.
        WHEN kind IN ('m', 'f') THEN CASE WHEN freshet.shadows(object) THEN 'everything' ELSE 'relation' END
        ELSE 'everything' END; -- views, composite types
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.reach_of_command(oid, oid, text) IS 'How much a DDL command on an object may have changed: nothing, relation or everything.';

-- SECURITY DEFINER, here and below: whoever runs DDL need not be allowed to read freshet.shapes.
-- +goose StatementBegin
CREATE FUNCTION freshet.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command    record;
    reach      text;
    everything boolean := false;
    relations  oid[]   := '{}';
BEGIN
    FOR command IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        CONTINUE WHEN command.in_extension OR command.schema_name IN ('pg_temp', 'freshet')
            OR command.objid::text = current_setting('freshet.guarding', true);
        -- A schema that may not be used is passed over in the search_path.
        IF command.command_tag IN ('GRANT', 'REVOKE') AND lower(command.object_type) = 'schema' THEN
            everything := true;
            CONTINUE;
        END IF;
        reach := freshet.reach_of_command(command.classid, command.objid, command.command_tag);
        CONTINUE WHEN reach = 'nothing';
        IF reach = 'everything' OR freshet.shadows(command.objid) THEN
            everything := true;
            CONTINUE;
        END IF;
        relations := relations || command.objid;
        -- ALTER TABLE ... NO INHERIT: nothing tells whose child it was.
        IF command.command_tag = 'ALTER TABLE' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = command.objid)
            AND EXISTS (SELECT FROM pg_class WHERE oid = command.objid AND relkind IN ('r', 'f')) THEN
            relations := relations || (SELECT coalesce(array_agg(oid), '{}') FROM pg_class
                WHERE oid = ANY (freshet.registered_parents()) AND relkind = 'r');
        END IF;
    END LOOP;
    IF everything THEN
        PERFORM freshet.emit('freshet.ddl', NULL, NULL, NULL, TG_TAG);
    ELSIF relations <> '{}' THEN
        PERFORM freshet.emit_ddl(relations, TG_TAG);
    END IF;
    PERFORM freshet.guard_new_partitions(oid) FROM (SELECT DISTINCT unnest(relations) AS oid) r;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'Freshet: cannot tell what % has changed, so everything is taken to have: %', TG_TAG, SQLERRM;
    PERFORM pg_logical_emit_message(true, 'freshet.ddl', '{}');
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.on_ddl() IS 'Event trigger freshet_ddl: emits which tables a command has defined anew.';

-- What a dropped object was behind: as reach_of_command, and 'parents' for a table that may have been a part of others. Objects that
-- only stand for others that are in the list themselves (the row type of a table) are neither original nor normal.
-- +goose StatementBegin
CREATE FUNCTION freshet.reach_of_drop(kind text, schema text, name text, standalone boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN kind = 'table' THEN CASE WHEN EXISTS (SELECT FROM freshet.shapes s WHERE s.schema_name = schema AND s.table_name = name)
            THEN 'relation' ELSE 'parents' END
        WHEN kind = 'publication relation' THEN CASE WHEN EXISTS (SELECT FROM freshet.shapes s WHERE s.schema_name = schema AND s.table_name = name)
            THEN 'relation' ELSE 'nothing' END
        -- ALTER TABLE is reported where it ends; the others matter to no result.
        WHEN kind IN ('table column', 'table constraint', 'domain constraint', 'default value', 'default acl', 'index', 'sequence', 'trigger', 'policy',
            'statistics object', 'toast table', 'materialized view', 'schema', 'subscription', 'event trigger') THEN 'nothing'
        WHEN NOT standalone THEN 'nothing'
        ELSE 'everything' END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.reach_of_drop(text, text, text, boolean) IS 'How much may have changed with a dropped object: nothing, relation, parents or everything.';

-- +goose StatementBegin
CREATE FUNCTION freshet.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    object     record;
    in_schema  text;
    name       text;
    everything boolean := false;
    parents    boolean := false;
    registered text[]  := '{}'; -- quoted names
BEGIN
    FOR object IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
        -- The rule that makes a relation a view goes with it, and does not know whether that was a temporary one.
        CONTINUE WHEN object.is_temporary OR object.schema_name IS NOT DISTINCT FROM 'freshet'
            OR object.object_type = 'rule' AND object.address_names[3] = '_RETURN';
        in_schema := object.schema_name;
        name := object.object_name;
        IF object.object_type = 'publication relation' THEN
            in_schema := object.address_names[1];
            name := object.address_names[2];
        END IF;
        CASE freshet.reach_of_drop(object.object_type, in_schema, name, object.original OR object.normal)
            WHEN 'everything' THEN everything := true;
            WHEN 'parents' THEN parents := true;
            WHEN 'relation' THEN registered := registered || format('%I.%I', in_schema, name);
            ELSE
        END CASE;
    END LOOP;
    IF everything THEN
        PERFORM freshet.emit('freshet.ddl', NULL, NULL, NULL, TG_TAG);
        RETURN;
    END IF;
    -- A table that still exists left a publication; one that does not is found by emit_ddl.
    IF parents OR registered <> '{}' THEN
        PERFORM freshet.emit_ddl(CASE WHEN parents THEN freshet.registered_parents() ELSE '{}' END
            || ARRAY(SELECT to_regclass(r)::oid FROM unnest(registered) r WHERE to_regclass(r) IS NOT NULL), TG_TAG);
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'Freshet: cannot tell what % has changed, so everything is taken to have: %', TG_TAG, SQLERRM;
    PERFORM pg_logical_emit_message(true, 'freshet.ddl', '{}');
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.on_drop() IS 'Event trigger freshet_drop: emits which tables a command has taken away, or taken something from.';

-- DETACH PARTITION ... CONCURRENTLY commits in the middle: snapshots miss the partition well before the command ends. What is emitted
-- where it starts belongs to its first transaction. It cannot be run within a function or a transaction, so that its text is what
-- was sent.
-- +goose StatementBegin
CREATE FUNCTION freshet.on_detach() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_query() ~* '\mdetach\M.*\mconcurrently\M' THEN
        PERFORM freshet.emit_ddl(freshet.registered_parents(), 'ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY');
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'Freshet: cannot tell what % changes, so everything is taken to change: %', TG_TAG, SQLERRM;
    PERFORM pg_logical_emit_message(true, 'freshet.ddl', '{}');
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.on_detach() IS 'Event trigger freshet_detach: emits where a partition begins to be detached concurrently which tables it may have been of.';

-- +goose StatementBegin
DO $$
BEGIN
    CREATE EVENT TRIGGER freshet_ddl ON ddl_command_end EXECUTE FUNCTION freshet.on_ddl();
    CREATE EVENT TRIGGER freshet_drop ON sql_drop EXECUTE FUNCTION freshet.on_drop();
    CREATE EVENT TRIGGER freshet_detach ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION freshet.on_detach();
    ALTER EVENT TRIGGER freshet_ddl ENABLE ALWAYS;
    ALTER EVENT TRIGGER freshet_drop ENABLE ALWAYS;
    ALTER EVENT TRIGGER freshet_detach ENABLE ALWAYS;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'Freshet: only a superuser may create event triggers: DDL will be found by a check every few seconds instead';
END $$;
-- +goose StatementEnd

-- Not SECURITY DEFINER: what converts a value is code of whoever made the type. The settings are those under which the log prints
-- values, whatever the session's are. A value is read as the type beneath a domain, whose constraints are no business of ours.
-- +goose StatementBegin
CREATE FUNCTION freshet.printed_as(tbl regclass, col text, val jsonb) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET DateStyle = 'ISO, MDY' SET TimeZone = 'UTC' SET IntervalStyle = 'postgres' SET extra_float_digits = 3 SET bytea_output = 'hex' AS $$
DECLARE
    kind     oid;
    modifier integer;
    base     record;
    printed  text;
BEGIN
    SELECT a.atttypid, a.atttypmod INTO kind, modifier FROM pg_attribute a
    WHERE a.attrelid = tbl AND a.attname::text = col AND a.attnum > 0 AND NOT a.attisdropped;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of table % does not exist', col, tbl USING ERRCODE = 'undefined_column';
    END IF;
    IF val IS NULL OR jsonb_typeof(val) = 'null' THEN
        RETURN NULL;
    END IF;
    LOOP
        SELECT t.typtype, t.typbasetype, t.typtypmod INTO base FROM pg_type t WHERE t.oid = kind;
        EXIT WHEN base.typtype <> 'd';
        kind := base.typbasetype;
        modifier := base.typtypmod;
    END LOOP;
    -- The output function, as in the log: a cast to text prints boolean and char(n) otherwise.
    EXECUTE format('SELECT pg_catalog.format(%L, %L::%s)', '%s',
        CASE WHEN kind IN ('json'::regtype, 'jsonb'::regtype) THEN val::text ELSE val #>> '{}' END, format_type(kind, modifier)) INTO printed;
    RETURN printed;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.printed_as(regclass, text, jsonb) IS 'A value of a column as the log prints it.';

-- +goose StatementBegin
CREATE FUNCTION freshet.clear(tbl regclass, key jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target record;
    pinned jsonb := '{}';
    col    text;
BEGIN
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind AS kind INTO target
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = coalesce(pg_partition_root(tbl), tbl);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such table' USING ERRCODE = 'undefined_table', HINT = 'freshet.clear_all() clears everything.';
    END IF;
    IF target.kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table', tbl USING ERRCODE = 'wrong_object_type', HINT = 'Name the tables that it is made of.';
    END IF;
    IF jsonb_typeof(key) <> 'object' THEN
        RAISE EXCEPTION 'the key must be an object of columns and values, as {"id": 42}' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR col IN SELECT jsonb_object_keys(key) LOOP
        pinned := pinned || jsonb_build_object(col, freshet.printed_as(target.oid::regclass, col, key -> col));
    END LOOP;
    PERFORM freshet.emit('freshet.clear', target.schema, target.name, nullif(pinned, '{}'), 'freshet.clear');
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.clear(regclass, jsonb) IS 'Clears, when the transaction commits, what is cached of rows of the table with these values: SELECT freshet.clear(''blogs'', ''{"id": 42}''). Without values: of any row of it. A time without a zone is UTC.';

-- +goose StatementBegin
CREATE FUNCTION freshet.clear_all() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT freshet.emit('freshet.clear', NULL, NULL, NULL, 'freshet.clear_all')
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION freshet.clear_all() IS 'Clears all that is cached when the transaction commits.';

-- +goose Down

DROP EVENT TRIGGER IF EXISTS freshet_ddl;
DROP EVENT TRIGGER IF EXISTS freshet_drop;
DROP EVENT TRIGGER IF EXISTS freshet_detach;
DROP FUNCTION freshet.clear_all();
DROP FUNCTION freshet.clear(regclass, jsonb);
DROP FUNCTION freshet.printed_as(regclass, text, jsonb);
DROP FUNCTION freshet.on_detach();
DROP FUNCTION freshet.on_drop();
DROP FUNCTION freshet.reach_of_drop(text, text, text, boolean);
DROP FUNCTION freshet.on_ddl();
DROP FUNCTION freshet.reach_of_command(oid, oid, text);
DROP FUNCTION freshet.guard_new_partitions(oid);
DROP FUNCTION freshet.guard_partitions(regclass);
DROP FUNCTION freshet.guard_partition(oid);
DROP FUNCTION freshet.unguarded_partitions(oid);
DROP FUNCTION freshet.truncated() CASCADE; -- with the triggers on partitions
DROP FUNCTION freshet.registered_parents();
DROP FUNCTION freshet.emit_ddl(oid[], text);
DROP FUNCTION freshet.shadows(oid);
DROP FUNCTION freshet.registered_relatives(oid);
DROP FUNCTION freshet.emit(text, text, text, jsonb, text);
