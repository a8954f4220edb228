-- What logins may use to look: views, and functions that look closely. What they may use to write is V8.
--
-- The views are named as the tables. Behind each is a function, into which no condition is pushed: it reads what the actor
-- may see, and a plan, a count or a statistic of a query over it tells of nothing else. What it costs therefore grows with
-- what the actor may see; programs use the functions that take ids and keys.

DO $$
DECLARE
    shown record;
BEGIN
    FOR shown IN SELECT * FROM (VALUES
        ('users', '(SELECT actor()) IS NOT NULL'),
        ('projects', 'id IN (SELECT visible_projects())'),
        ('project_revisions', 'project_id IN (SELECT visible_projects())'),
        ('revision_log', 'project_id IN (SELECT visible_projects())'),
        ('environments', 'project_id IN (SELECT visible_projects())'),
        ('project_members', 'project_id IN (SELECT visible_projects())'),
        ('project_secret_registry', 'project_id IN (SELECT visible_projects())'),
        ('key_exemptions', 'project_id IN (SELECT visible_projects())'),
        ('project_hash_keys', 'project_id IN (SELECT visible_projects())'),
        ('encryption_keys', 'ring IN (SELECT e.ring FROM environments e WHERE e.project_id IN (SELECT visible_projects()))'),
        ('secrets', 'environment_id IN (SELECT readable_environments())'),
        ('secret_versions', 'environment_id IN (SELECT readable_environments())'),
        -- Hashes of production values are for those who may read production.
        ('audit_logs', 'project_id IN (SELECT visible_projects())
                        AND (environment_id IS NULL OR environment_id IN (SELECT readable_environments()))')
    ) AS t (name, condition) LOOP
        EXECUTE format('CREATE FUNCTION shown_%1$s() RETURNS SETOF %1$I
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, %3$I, pg_temp
            AS $shown$ SELECT * FROM %1$I WHERE %2$s $shown$', shown.name, shown.condition, current_schema());
        EXECUTE format('CREATE VIEW %2$I.%1$I AS SELECT * FROM shown_%1$s()', shown.name, current_schema() || '_api');
    END LOOP;
END $$;

CREATE VIEW @api@.memberships AS SELECT * FROM memberships();
CREATE VIEW @api@.schema_floor AS SELECT version, oldest_reader, oldest_writer, subscriber_since FROM schema_floor;
CREATE VIEW @api@.key_states AS
    SELECT states.* FROM visible_projects() AS project, LATERAL @api@.key_states_of(project) AS states;

-- An environment and what the actor may do there; a row without id where only the project is there to be seen.
CREATE FUNCTION @api@.environment_named(project text, environment text)
RETURNS TABLE (project_id uuid, project_name text, is_archived boolean, id uuid, name text, is_production boolean,
               ring text, live_secrets bigint, readable boolean, writable boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT p.id, p.name, p.archived_at IS NOT NULL, e.id, e.name, e.is_production,
           e.ring, e.live_secrets, may_read(p.id, e.id), may_write(p.id, e.id)
    FROM (SELECT * FROM own_projects() o OFFSET 0) p
    LEFT JOIN environments e ON e.project_id = p.id AND e.name = environment_named.environment AND e.deleted_at IS NULL
    WHERE p.name = environment_named.project
$$;

-- One environment that the actor may know of, where its project is not known. Costs as much as the actor's projects have
-- environments.
CREATE FUNCTION @api@.environment_with(id uuid) RETURNS SETOF environments
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT mine.* FROM (SELECT e.* FROM memberships() m JOIN environments e USING (project_id) OFFSET 0) mine
    WHERE mine.id = environment_with.id
$$;

-- The same where the project is known.
CREATE FUNCTION @api@.environment_of(project uuid, environment uuid) RETURNS SETOF environments
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF is_member(project) THEN
        RETURN QUERY SELECT * FROM environments e WHERE e.project_id = project AND e.id = environment;
    END IF;
END $$;

CREATE FUNCTION @api@.is_administrator(project uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT is_administrator(project)
$$;

-- The live secrets of an environment that the actor may read: all, or those of some keys.
CREATE FUNCTION @api@.secrets_of(project uuid, environment uuid, keys text[] DEFAULT NULL) RETURNS SETOF secrets
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF NOT may_read(project, environment) THEN
        RETURN;
    ELSIF keys IS NULL THEN
        RETURN QUERY SELECT * FROM secrets s WHERE s.environment_id = environment AND s.deleted_at IS NULL;
    ELSE
        RETURN QUERY SELECT s.* FROM (SELECT DISTINCT unnest(keys) AS name) k CROSS JOIN LATERAL (
            SELECT * FROM secrets o WHERE o.environment_id = environment AND o.key = k.name AND o.deleted_at IS NULL OFFSET 0) s;
    END IF;
END $$;

-- The keys of a project, retired ones too: all, or some.
CREATE FUNCTION @api@.keys_of(project uuid, keys text[] DEFAULT NULL) RETURNS SETOF project_secret_registry
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF NOT is_member(project) THEN
        RETURN;
    ELSIF keys IS NULL THEN
        RETURN QUERY SELECT * FROM project_secret_registry r WHERE r.project_id = project;
    ELSE
        RETURN QUERY SELECT r.* FROM (SELECT DISTINCT unnest(keys) AS name) k CROSS JOIN LATERAL (
            SELECT * FROM project_secret_registry o WHERE o.project_id = project AND o.key_name = k.name OFFSET 0) r;
    END IF;
END $$;

-- The end of a project's audit chain; 0 where it has none, or is not the actor's.
CREATE FUNCTION @api@.audit_position(project uuid) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF NOT is_member(project) THEN
        RETURN 0;
    END IF;
    RETURN coalesce((SELECT position FROM audit_logs WHERE chain = project ORDER BY position DESC LIMIT 1), 0);
END $$;

-- What a project's audit chain says after a position, as far as the actor may see it.
CREATE FUNCTION @api@.audit_after(project uuid, after bigint) RETURNS SETOF audit_logs
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    membership project_members;
BEGIN
    SELECT * INTO membership FROM own_membership(project);
    IF membership.project_id IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM audit_logs l WHERE l.chain = project AND l.position > after
        AND (l.environment_id IS NULL OR l.environment_id IN (
            SELECT e.id FROM environments e WHERE e.project_id = project AND covers(membership, e)))
        ORDER BY l.position;
END $$;

-- The project's hashing keys, sealed for each ring.
CREATE FUNCTION @api@.hash_keys_of(project uuid) RETURNS SETOF project_hash_keys
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF is_member(project) THEN
        RETURN QUERY SELECT * FROM project_hash_keys k WHERE k.project_id = project ORDER BY k.created_at;
    END IF;
END $$;

-- For operators, who keep what they have read, and ask for what has changed since.

-- The names of the keys that anything happened to after a position of the project's audit chain: every change of a secret, a
-- key or an exemption is a row there. Names of keys are for all members.
CREATE FUNCTION @api@.keys_changed_after(project uuid, after bigint) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF NOT is_member(project) THEN
        RETURN '{}';
    END IF;
    RETURN coalesce((SELECT array_agg(DISTINCT l.subject) FROM audit_logs l
                     WHERE l.chain = project AND l.position > after AND l.action ~ '^(secret|key)[.]'), '{}');
END $$;

-- What an environment that the actor may read has of keys, the live rows without what they are sealed as. Of all keys, as
-- all_key_rows says it; or of those that are named, one row each, whether there is anything or not.
CREATE FUNCTION @api@.key_rows_of(project uuid, environment uuid, keys text[] DEFAULT NULL)
RETURNS TABLE (key text, last_updated_at timestamptz, is_exempt boolean, id uuid, value_hash text, version bigint, updated_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT may_read(project, environment) THEN
        RETURN;
    ELSIF keys IS NULL THEN
        RETURN QUERY SELECT * FROM all_key_rows(project, environment);
    ELSE
        RETURN QUERY
        SELECT k.name, r.last_updated_at, x.key_name IS NOT NULL, s.id, s.value_hash, s.version, s.updated_at
        FROM (SELECT DISTINCT unnest(keys) AS name) k
        LEFT JOIN LATERAL (SELECT * FROM project_secret_registry o WHERE o.project_id = key_rows_of.project AND o.key_name = k.name
                           AND o.retired_at IS NULL OFFSET 0) r ON true
        LEFT JOIN LATERAL (SELECT * FROM secrets o WHERE o.environment_id = key_rows_of.environment AND o.key = k.name
                           AND o.deleted_at IS NULL OFFSET 0) s ON true
        LEFT JOIN LATERAL (SELECT * FROM key_exemptions o WHERE o.environment_id = key_rows_of.environment AND o.key_name = k.name
                           OFFSET 0) x ON true;
    END IF;
END $$;

-- What live rows of an environment that the actor may read are sealed as, and which value that is.
CREATE FUNCTION @api@.sealed_values_of(project uuid, environment uuid, rows uuid[])
RETURNS TABLE (id uuid, version bigint, value_hash text, encrypted_value text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT may_read(project, environment) THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT s.id, s.version, s.value_hash, s.encrypted_value
        FROM (SELECT DISTINCT unnest(rows) AS id) k CROSS JOIN LATERAL (
            SELECT * FROM secrets o WHERE o.id = k.id AND o.environment_id = sealed_values_of.environment AND o.deleted_at IS NULL
            OFFSET 0) s;
END $$;

-- The proof that rows were deleted on purpose, for those of them that were: by the first 8 bytes of the SHA-256 of their ids.
CREATE FUNCTION @api@.tombstones_of(project uuid, environment uuid, rows bytea[]) RETURNS TABLE (digest bytea, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT may_read(project, environment) THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT k.digest, s.key FROM (SELECT DISTINCT unnest(rows) AS digest) k CROSS JOIN LATERAL (
        SELECT * FROM secrets o WHERE o.environment_id = tombstones_of.environment AND o.deleted_at IS NOT NULL
            AND substring(sha256(uuid_send(o.id)), 1, 8) = k.digest OFFSET 0) s;
END $$;

-- Where each of several environments stands, in the order asked: one row each.
CREATE FUNCTION @api@.poll(projects text[], environments text[])
RETURNS TABLE (place bigint, project_name text, project uuid, is_archived boolean, environment uuid, is_production boolean, role text,
               readable boolean, epoch bigint, project_revision bigint, project_token uuid,
               environment_revision bigint, environment_token uuid, was_deleted boolean, oldest_reader integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    WITH mine AS MATERIALIZED (
        SELECT p.id, p.name, p.archived_at, m AS membership FROM memberships() m JOIN projects p ON p.id = m.project_id)
    SELECT w.place, w.project, p.id, p.archived_at IS NOT NULL, e.id, e.is_production, (p.membership).role::text, covers(p.membership, e),
           e.epoch, r.revision, r.token, e.revision, l.token,
           e.id IS NULL AND EXISTS (SELECT FROM environments d
                                    WHERE d.project_id = p.id AND d.name = w.environment AND d.deleted_at IS NOT NULL),
           (SELECT f.oldest_reader FROM schema_floor f)
    FROM unnest(poll.projects, poll.environments) WITH ORDINALITY AS w(project, environment, place)
    LEFT JOIN mine p ON p.name = w.project
    LEFT JOIN project_revisions r ON r.project_id = p.id
    LEFT JOIN environments e ON e.project_id = p.id AND e.name = w.environment AND e.deleted_at IS NULL
    LEFT JOIN revision_log l ON l.project_id = p.id AND l.revision = e.revision
    ORDER BY w.place
$$;

-- The token that a project's log has for a revision.
CREATE FUNCTION @api@.token_of(project uuid, revision bigint) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF NOT is_member(project) THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT l.token FROM revision_log l WHERE l.project_id = project AND l.revision = token_of.revision);
END $$;

-- Who holds the mutex of one of the actor's projects just now.
CREATE FUNCTION @api@.mutex_holder(project text) RETURNS TABLE (login text, process integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT a.usename::text, a.pid
    FROM own_projects() p JOIN project_revisions r ON r.project_id = p.id
    JOIN pg_locks l ON l.locktype = 'transactionid' AND l.transactionid = r.xmax AND l.granted
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE p.name = mutex_holder.project
$$;

GRANT SELECT ON @api@.users, @api@.projects, @api@.project_revisions, @api@.revision_log, @api@.environments,
    @api@.project_members, @api@.project_secret_registry, @api@.key_exemptions, @api@.project_hash_keys,
    @api@.encryption_keys, @api@.secrets, @api@.secret_versions, @api@.audit_logs, @api@.memberships, @api@.key_states
    TO tidelock_app, tidelock_operator;
GRANT SELECT ON @api@.schema_floor TO PUBLIC;
