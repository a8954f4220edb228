-- What logins may use: views to look, functions to look closely and to write, and writes to the views for whoever prefers SQL.
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
CREATE VIEW @api@.schema_floor AS SELECT version, oldest_reader, oldest_writer FROM schema_floor;
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

-- The keys that an environment is exempt from.
CREATE FUNCTION @api@.exemptions_of(project uuid, environment uuid) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM @api@.environment_of(project, environment)) THEN
        RETURN QUERY SELECT x.key_name FROM key_exemptions x WHERE x.environment_id = environment;
    END IF;
END $$;

-- The tombstones among these rows, or all: the proof that they were deleted on purpose.
CREATE FUNCTION @api@.tombstones_of(project uuid, environment uuid, ids uuid[] DEFAULT NULL)
RETURNS TABLE (id uuid, key text, deleted_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT may_read(project, environment) THEN
        RETURN;
    END IF;
    IF ids IS NULL THEN
        RETURN QUERY SELECT s.id, s.key, s.deleted_at FROM secrets s
            WHERE s.environment_id = tombstones_of.environment AND s.deleted_at IS NOT NULL;
        RETURN;
    END IF;
    RETURN QUERY SELECT s.id, s.key, s.deleted_at FROM (SELECT DISTINCT unnest(ids) AS id) k CROSS JOIN LATERAL (
        SELECT * FROM secrets o WHERE o.id = k.id AND o.environment_id = tombstones_of.environment
            AND o.deleted_at IS NOT NULL OFFSET 0) s;
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

-- Writing. What a writer may is asked under the mutex: before it, only whether there is a mutex to wait for.

-- The project's mutex, for who writes to the project. Nobody else waits, makes anyone wait, or finds out whether there is one.
CREATE FUNCTION hold_mutex(project uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF is_writer(project) THEN
        PERFORM FROM project_revisions r WHERE r.project_id = project FOR NO KEY UPDATE;
    END IF;
END $$;

CREATE FUNCTION require_writable(project uuid, environment uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM hold_mutex(project);
    IF NOT may_write(project, environment) THEN
        RAISE EXCEPTION 'environment not found, or you may not write there' USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

-- Refuses who has not that much to say in the whole project: an ADMIN, or whoever writes.
CREATE FUNCTION require_member(project uuid, administers boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM hold_mutex(project);
    IF NOT is_developer(project) OR (administers AND NOT is_administrator(project)) THEN
        RAISE EXCEPTION 'project not found, or you may not change that in it' USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

CREATE FUNCTION @api@.insert_secrets(
    project uuid, environment uuid, ids uuid[], keys text[], sealed text[], hashes text[], answers timestamptz[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    written bigint;
BEGIN
    PERFORM require_writable(project, environment);
    INSERT INTO secrets (id, project_id, environment_id, key, encrypted_value, value_hash, answers)
        SELECT n.id, project, environment, n.key, n.sealed, n.hash, n.answers
        FROM unnest(ids, keys, sealed, hashes, insert_secrets.answers) AS n (id, key, sealed, hash, answers);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;

-- A row without a new ciphertext is confirmed.
CREATE FUNCTION @api@.update_secrets(
    project uuid, environment uuid, ids uuid[], sealed text[], hashes text[], versions bigint[], answers timestamptz[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    written bigint;
BEGIN
    PERFORM require_writable(project, environment);
    UPDATE secrets s SET encrypted_value = coalesce(n.sealed, s.encrypted_value), value_hash = n.hash, version = n.version,
            answers = n.answers
        FROM unnest(ids, sealed, hashes, versions, update_secrets.answers) AS n (id, sealed, hash, version, answers)
        WHERE s.id = n.id AND s.environment_id = environment;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;

-- Answers the keys that were live.
CREATE FUNCTION @api@.delete_secrets(project uuid, environment uuid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(project, environment);
    RETURN QUERY UPDATE secrets s SET deleted_at = clock_timestamp()
        WHERE s.environment_id = environment AND s.key = ANY (keys) AND s.deleted_at IS NULL RETURNING s.key;
END $$;

-- Brings back the newest deleted row of each key; answers the keys that had one.
CREATE FUNCTION @api@.restore_secrets(project uuid, environment uuid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(project, environment);
    RETURN QUERY UPDATE secrets s SET deleted_at = NULL WHERE s.id IN (
        SELECT DISTINCT ON (d.key) d.id FROM secrets d
        WHERE d.environment_id = environment AND d.key = ANY (keys) AND d.deleted_at IS NOT NULL
        ORDER BY d.key, d.deleted_at DESC) RETURNING s.key;
END $$;

-- Answers the keys that were live.
CREATE FUNCTION @api@.confirm_secrets(project uuid, environment uuid, keys text[], answers timestamptz[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(project, environment);
    RETURN QUERY UPDATE secrets s SET value_hash = s.value_hash, answers = n.answers
        FROM unnest(keys, confirm_secrets.answers) AS n (key, answers)
        WHERE s.environment_id = environment AND s.key = n.key AND s.deleted_at IS NULL RETURNING s.key;
END $$;

-- Answers whether the membership is new.
CREATE FUNCTION @api@.set_member(
    project uuid, member uuid, role text, only_environments uuid[], read_only boolean, expires_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_member(project, true);
    UPDATE project_members m SET role = set_member.role::project_role, only_environments = set_member.only_environments,
            read_only = set_member.read_only, expires_at = set_member.expires_at
        WHERE m.project_id = project AND m.user_id = member;
    IF FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO project_members (project_id, user_id, role, only_environments, read_only, expires_at)
        VALUES (project, member, set_member.role::project_role, set_member.only_environments, set_member.read_only,
                set_member.expires_at);
    RETURN true;
END $$;

-- Answers whether there was one.
CREATE FUNCTION @api@.remove_member(project uuid, member uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_member(project, true);
    DELETE FROM project_members m WHERE m.project_id = project AND m.user_id = member;
    RETURN FOUND;
END $$;

-- Changes what is said about a key; NULL leaves it. Answers whether the project has the key.
CREATE FUNCTION @api@.define_key(project uuid, key text, description text, tracking text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_member(project, true);
    UPDATE project_secret_registry r SET description = coalesce(define_key.description, r.description),
            tracking = coalesce(define_key.tracking::key_tracking, r.tracking)
        WHERE r.project_id = project AND r.key_name = key AND r.retired_at IS NULL;
    RETURN EXISTS (SELECT FROM project_secret_registry r
                   WHERE r.project_id = project AND r.key_name = key AND r.retired_at IS NULL);
END $$;

-- Answers the keys that were not retired yet.
CREATE FUNCTION @api@.retire_keys(project uuid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_member(project, true);
    RETURN QUERY UPDATE project_secret_registry r SET retired_at = clock_timestamp()
        WHERE r.project_id = project AND r.key_name = ANY (keys) AND r.retired_at IS NULL RETURNING r.key_name;
END $$;

-- Declares that an environment does not need keys. One that is exempt already stays so.
CREATE FUNCTION @api@.exempt_keys(project uuid, environment uuid, keys text[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(project, environment);
    INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
        SELECT project, environment, k.name, exempt_keys.reason FROM (SELECT DISTINCT unnest(keys) AS name) k
        WHERE NOT EXISTS (SELECT FROM key_exemptions x WHERE x.environment_id = environment AND x.key_name = k.name);
END $$;

-- Answers the keys that were exempt.
CREATE FUNCTION @api@.unexempt_keys(project uuid, environment uuid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(project, environment);
    RETURN QUERY DELETE FROM key_exemptions x
        WHERE x.environment_id = environment AND x.key_name = ANY (keys) RETURNING x.key_name;
END $$;

-- Writes to the views, row by row. There is no DELETE: the right to it, and a right to a whole view in place of its columns,
-- would let a login lock the view against everyone.

-- A view is read before the mutex is waited for, and an UPDATE brings every column as it was read: who set one of them would
-- take back what somebody else did to another meanwhile, a deletion or a lesser role.
CREATE FUNCTION refuse_overtaken(what text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% was changed by somebody else meanwhile', what USING ERRCODE = 'TL409', HINT = 'Look again, then repeat.';
END $$;

CREATE FUNCTION write_environment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM require_member(NEW.project_id, coalesce(NEW.is_production, false));
        INSERT INTO environments (id, project_id, name, is_production, ring)
            VALUES (coalesce(NEW.id, gen_random_uuid()), NEW.project_id, NEW.name, coalesce(NEW.is_production, false), NEW.ring)
            RETURNING * INTO NEW;
    ELSE
        IF NOT is_administrator(OLD.project_id) THEN
            RETURN NULL;
        END IF;
        UPDATE environments SET is_production = NEW.is_production, ring = NEW.ring, deleted_at = NEW.deleted_at
            WHERE id = OLD.id AND (is_production, ring, deleted_at) IS NOT DISTINCT FROM (OLD.is_production, OLD.ring, OLD.deleted_at)
            RETURNING * INTO NEW;
        IF NOT FOUND THEN
            PERFORM refuse_overtaken('environment ' || OLD.name);
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION write_member() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM require_member(NEW.project_id, true);
        INSERT INTO project_members (project_id, user_id, role, only_environments, read_only, expires_at)
            VALUES (NEW.project_id, NEW.user_id, NEW.role, NEW.only_environments, coalesce(NEW.read_only, false), NEW.expires_at)
            RETURNING * INTO NEW;
    ELSE
        IF NOT is_administrator(OLD.project_id) THEN
            RETURN NULL;
        END IF;
        UPDATE project_members SET role = NEW.role, only_environments = NEW.only_environments, read_only = NEW.read_only,
                expires_at = NEW.expires_at
            WHERE project_id = OLD.project_id AND user_id = OLD.user_id
                AND (role, only_environments, read_only, expires_at)
                    IS NOT DISTINCT FROM (OLD.role, OLD.only_environments, OLD.read_only, OLD.expires_at)
            RETURNING * INTO NEW;
        IF NOT FOUND THEN
            PERFORM refuse_overtaken('the membership');
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION write_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF NOT is_administrator(OLD.project_id) THEN
        RETURN NULL;
    END IF;
    -- Apart from the UPDATE, which comes to nothing also where nothing changes.
    IF NOT EXISTS (SELECT FROM project_secret_registry r WHERE r.project_id = OLD.project_id AND r.key_name = OLD.key_name
                   AND (r.tracking, r.description, r.retired_at) IS NOT DISTINCT FROM (OLD.tracking, OLD.description, OLD.retired_at)) THEN
        PERFORM refuse_overtaken('key ' || OLD.key_name);
    END IF;
    UPDATE project_secret_registry SET tracking = NEW.tracking, description = NEW.description, retired_at = NEW.retired_at
        WHERE project_id = OLD.project_id AND key_name = OLD.key_name;
    RETURN NEW;
END $$;

CREATE FUNCTION write_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM require_writable(NEW.project_id, NEW.environment_id);
        INSERT INTO secrets (id, project_id, environment_id, key, encrypted_value, value_hash, version, deleted_at, answers)
            VALUES (coalesce(NEW.id, gen_random_uuid()), NEW.project_id, NEW.environment_id, NEW.key, NEW.encrypted_value,
                    NEW.value_hash, coalesce(NEW.version, 1), NEW.deleted_at, NEW.answers)
            RETURNING * INTO NEW;
    ELSE
        IF NOT may_write(OLD.project_id, OLD.environment_id) THEN
            RETURN NULL;
        END IF;
        UPDATE secrets SET encrypted_value = NEW.encrypted_value, value_hash = NEW.value_hash, version = NEW.version,
                updated_at = NEW.updated_at, deleted_at = NEW.deleted_at, answers = NEW.answers
            WHERE id = OLD.id AND (version, updated_at) = (OLD.version, OLD.updated_at)
                AND deleted_at IS NOT DISTINCT FROM OLD.deleted_at RETURNING * INTO NEW;
        IF NOT FOUND THEN
            PERFORM refuse_overtaken('key ' || OLD.key);
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION write_exemption() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(NEW.project_id, NEW.environment_id);
    INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
        VALUES (NEW.project_id, NEW.environment_id, NEW.key_name, NEW.reason) RETURNING * INTO NEW;
    RETURN NEW;
END $$;

-- Who could put one copy that does not open before the project's own would keep everybody from writing.
CREATE FUNCTION write_hash_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_member(NEW.project_id, true);
    INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed)
        VALUES (NEW.project_id, NEW.hash_key_id, NEW.ring, NEW.sealed) RETURNING * INTO NEW;
    RETURN NEW;
END $$;

-- The owner's: nobody else has the right to write to the view.
CREATE FUNCTION write_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO users (id, name, db_role, kind)
            VALUES (coalesce(NEW.id, gen_random_uuid()), NEW.name, NEW.db_role, coalesce(NEW.kind, 'person'))
            RETURNING * INTO NEW;
    ELSE
        UPDATE users SET db_role = NEW.db_role, kind = NEW.kind, disabled_at = NEW.disabled_at
            WHERE id = OLD.id AND (db_role, kind, disabled_at) IS NOT DISTINCT FROM (OLD.db_role, OLD.kind, OLD.disabled_at)
            RETURNING * INTO NEW;
        IF NOT FOUND THEN
            PERFORM refuse_overtaken('user ' || OLD.name);
        END IF;
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE
    written record;
BEGIN
    FOR written IN SELECT * FROM (VALUES
        ('environments', 'INSERT OR UPDATE', 'write_environment'),
        ('project_members', 'INSERT OR UPDATE', 'write_member'),
        ('project_secret_registry', 'UPDATE', 'write_key'),
        ('secrets', 'INSERT OR UPDATE', 'write_secret'),
        ('key_exemptions', 'INSERT', 'write_exemption'),
        ('project_hash_keys', 'INSERT', 'write_hash_key'),
        ('users', 'INSERT OR UPDATE', 'write_user')
    ) AS t (name, events, function) LOOP
        IF written.name <> 'users' THEN
            EXECUTE format('CREATE TRIGGER mutex BEFORE %s ON %I.%I FOR EACH STATEMENT EXECUTE FUNCTION take_mutex()',
                written.events, current_schema() || '_api', written.name);
        END IF;
        EXECUTE format('CREATE TRIGGER write INSTEAD OF %s ON %I.%I FOR EACH ROW EXECUTE FUNCTION %I()',
            written.events, current_schema() || '_api', written.name, written.function);
    END LOOP;
END $$;

GRANT SELECT ON @api@.users, @api@.projects, @api@.project_revisions, @api@.revision_log, @api@.environments,
    @api@.project_members, @api@.project_secret_registry, @api@.key_exemptions, @api@.project_hash_keys,
    @api@.encryption_keys, @api@.secrets, @api@.secret_versions, @api@.audit_logs, @api@.memberships, @api@.key_states
    TO tidelock_app, tidelock_operator;
GRANT SELECT ON @api@.schema_floor TO PUBLIC;
GRANT INSERT (id, project_id, name, is_production, ring), UPDATE (is_production, ring, deleted_at) ON @api@.environments TO tidelock_app;
GRANT INSERT (project_id, user_id, role, only_environments, read_only, expires_at),
    UPDATE (role, only_environments, read_only, expires_at) ON @api@.project_members TO tidelock_app;
GRANT UPDATE (tracking, description, retired_at) ON @api@.project_secret_registry TO tidelock_app;
GRANT INSERT (id, project_id, environment_id, key, encrypted_value, value_hash, version, created_at, updated_at, deleted_at, answers),
    UPDATE (encrypted_value, value_hash, version, updated_at, deleted_at, answers) ON @api@.secrets TO tidelock_app;
GRANT INSERT (project_id, environment_id, key_name, reason) ON @api@.key_exemptions TO tidelock_app;
GRANT INSERT (project_id, hash_key_id, ring, sealed) ON @api@.project_hash_keys TO tidelock_app;
