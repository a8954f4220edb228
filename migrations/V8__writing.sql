-- What logins may use to write: functions, and writes to the views of V7 for whoever prefers SQL.
--
-- What a writer may is asked under the mutex: before it, only whether there is a mutex to wait for.

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

-- Lets keys have names that no Secret takes, one by one, by whoever may set them: these join the registry, in the transaction that
-- sets them. Names that need no word are left out.
CREATE FUNCTION @api@.allow_key_names(project uuid, environment uuid, keys text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    entries audit_entry[];
BEGIN
    PERFORM require_writable(project, environment);
    IF EXISTS (SELECT FROM unnest(keys) k WHERE NOT is_allowable_name(k)) THEN
        RAISE EXCEPTION 'what is to be allowed can be no name of a key' USING ERRCODE = 'TL422',
            HINT = 'Use 1 to 253 bytes, without spaces at either end and without characters that cannot be seen.';
    END IF;
    WITH allowed AS (
        INSERT INTO project_secret_registry (project_id, key_name, name_allowed, last_updated_at)
        SELECT project, k.name, true, step_revision(project) FROM (SELECT DISTINCT unnest(keys) AS name) k
        WHERE NOT is_key_name(k.name) AND NOT EXISTS (
            SELECT FROM project_secret_registry r WHERE r.project_id = project AND r.key_name = k.name)
        ORDER BY k.name RETURNING key_name)
    SELECT array_agg((environment, 'key.allow', a.key_name, NULL, NULL)::audit_entry ORDER BY a.key_name) INTO entries FROM allowed a;
    PERFORM append_audit(project, entries);
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

-- Answers the keys that were not retired yet. By index: no statistic tells how few a list of names finds, so that all keys would be
-- read for a hundred.
CREATE FUNCTION @api@.retire_keys(project uuid, keys text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    PERFORM require_member(project, true);
    RETURN QUERY UPDATE project_secret_registry r SET retired_at = clock_timestamp()
        WHERE r.project_id = project AND r.key_name = ANY (keys) AND r.retired_at IS NULL RETURNING r.key_name;
END $$;

-- Takes a name out of the registry that should never have been one: the key is retired, and what stands for its name is put into every
-- row that has it, those of the audit log too. The row that tells of it has `name_hash`, a keyed hash that whoever holds the
-- project's hashing key can make of the name, and the digest of what is left. Answers what stands for the name; NULL where the project
-- has no such key.
--
-- Rows stay, as tombstones have to. Sealed values are bound to the name that they were sealed for, so that nothing opens them any more.
CREATE FUNCTION @api@.purge_key_name(project uuid, key text, name_hash text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    reason text := current_setting('tidelock.reason', true);
    purged text := 'purged-' || replace(gen_random_uuid()::text, '-', '');
BEGIN
    PERFORM require_member(project, true);
    PERFORM require_reason(reason, 'to purge the name of a key');
    IF name_hash IS NULL OR NOT is_value_hash(name_hash) OR name_hash !~ '^h1:' THEN
        RAISE EXCEPTION 'the hash of the name is no keyed hash (h1:...)' USING ERRCODE = 'TL422',
            HINT = 'A plain hash could be tried with guesses. tidelock key purge-name makes it.';
    ELSIF strpos(reason, key) > 0 THEN
        RAISE EXCEPTION 'the reason has the name in it that is to be purged' USING ERRCODE = 'TL422',
            HINT = 'Give a reason without it: reasons stay in the audit log, in clear.';
    ELSIF is_purged_name(key) OR NOT EXISTS (
            SELECT FROM project_secret_registry r WHERE r.project_id = project AND r.key_name = key) THEN
        RETURN NULL;
    END IF;
    PERFORM step_revision(project);
    DELETE FROM key_exemptions x WHERE x.project_id = project AND x.key_name = key;
    UPDATE project_secret_registry r SET retired_at = clock_timestamp()
        WHERE r.project_id = project AND r.key_name = key AND r.retired_at IS NULL;
    PERFORM set_config('tidelock.purging', purged, true);
    UPDATE secrets s SET key = purged WHERE s.project_id = project AND s.key = purge_key_name.key;
    UPDATE project_secret_registry r SET key_name = purged, description = '', name_allowed = false
        WHERE r.project_id = project AND r.key_name = key;
    UPDATE audit_logs l SET subject = purged WHERE l.chain = project AND l.subject = key AND l.action ~ '^(secret|key)[.]';
    PERFORM set_config('tidelock.purging', '', true);
    INSERT INTO audit_logs (project_id, action, subject, old_value_hash, new_value_hash)
        VALUES (project, 'key.purge-name', purged, name_hash, audit_digest_of_purged(project, purged));
    RETURN purged;
END $$;

-- Declares that an environment does not need keys. One that is exempt already stays so.
CREATE FUNCTION @api@.exempt_keys(project uuid, environment uuid, keys text[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    PERFORM require_writable(project, environment);
    PERFORM require_reason(exempt_keys.reason, 'an exemption');
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
        UPDATE users SET db_role = NEW.db_role, db_role_oid = NEW.db_role_oid, kind = NEW.kind, disabled_at = NEW.disabled_at
            WHERE id = OLD.id AND (db_role, db_role_oid, kind, disabled_at)
                IS NOT DISTINCT FROM (OLD.db_role, OLD.db_role_oid, OLD.kind, OLD.disabled_at)
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
        -- What no INSERT names is asked for in any session, triggers or not.
        IF written.events <> 'UPDATE' THEN
            EXECUTE format('ALTER VIEW %I.%I ALTER created_at SET DEFAULT at_origin()', current_schema() || '_api', written.name);
        END IF;
        EXECUTE format('CREATE TRIGGER write INSTEAD OF %s ON %I.%I FOR EACH ROW EXECUTE FUNCTION %I()',
            written.events, current_schema() || '_api', written.name, written.function);
    END LOOP;
END $$;

GRANT INSERT (id, project_id, name, is_production, ring), UPDATE (is_production, ring, deleted_at) ON @api@.environments TO tidelock_app;
GRANT INSERT (project_id, user_id, role, only_environments, read_only, expires_at),
    UPDATE (role, only_environments, read_only, expires_at) ON @api@.project_members TO tidelock_app;
GRANT UPDATE (tracking, description, retired_at) ON @api@.project_secret_registry TO tidelock_app;
GRANT INSERT (id, project_id, environment_id, key, encrypted_value, value_hash, version, created_at, updated_at, deleted_at, answers),
    UPDATE (encrypted_value, value_hash, version, updated_at, deleted_at, answers) ON @api@.secrets TO tidelock_app;
GRANT INSERT (project_id, environment_id, key_name, reason) ON @api@.key_exemptions TO tidelock_app;
GRANT INSERT (project_id, hash_key_id, ring, sealed) ON @api@.project_hash_keys TO tidelock_app;
