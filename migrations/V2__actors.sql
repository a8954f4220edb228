-- Who is asking, what they may see, and row-level security that says so.
--
-- The actor is the database login. The helpers below read tables that are themselves under FORCEd row-level security;
-- were they owned by the tables' owner, a policy that calls them would call itself. So they belong to a third role,
-- tidelock_definer, which nobody logs in as and which has policies of its own. Each of them pins its search path, or a
-- temporary table could stand in for one of ours.

-- 'TL404' not found or not a member, 'TL403' refused, 'TL409' somebody else was first, 'TL422' makes no sense.

CREATE FUNCTION actor() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    claimed text := nullif(current_setting('tidelock.acting_user', true), '');
    found_id uuid;
    found_role text;
    disabled boolean;
BEGIN
    IF claimed IS NULL THEN
        SELECT id INTO found_id FROM users WHERE db_role = session_user AND disabled_at IS NULL;
        RETURN found_id;
    END IF;
    SELECT id, db_role INTO found_id, found_role FROM users WHERE name = claimed AND disabled_at IS NULL;
    IF found_role = session_user::text THEN
        RETURN found_id;
    END IF;
    SELECT disabled_at IS NOT NULL INTO disabled FROM users WHERE db_role = session_user::text;
    -- USAGE, as whoever made the role is a MEMBER of it from PostgreSQL 16 on. Who was disabled acts for nobody.
    IF disabled OR NOT pg_has_role(session_user, 'tidelock_delegate', 'USAGE') THEN
        RAISE EXCEPTION 'login % may not act for another user', session_user
            USING ERRCODE = 'TL403', HINT = 'Leave out --user, or have the login granted tidelock_delegate.';
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION actor() IS 'The user that the login is, or acts for; NULL when it is none.';

CREATE FUNCTION require_actor() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    acting uuid := actor();
BEGIN
    IF acting IS NULL THEN
        RAISE EXCEPTION 'login % is no user of this registry, so it can change nothing', session_user
            USING ERRCODE = 'TL403', HINT = 'Have the registry''s owner run: tidelock user add NAME --db-role ' || session_user;
    END IF;
    RETURN acting;
END $$;

-- Memberships of the actor that count now.
CREATE FUNCTION memberships() RETURNS SETOF project_members
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT * FROM project_members
    WHERE user_id = (SELECT actor()) AND (expires_at IS NULL OR expires_at > clock_timestamp())
$$;

CREATE FUNCTION visible_projects() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT project_id FROM memberships()
$$;

CREATE FUNCTION developed_projects() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT project_id FROM memberships() WHERE role IN ('ADMIN', 'DEVELOPER') AND NOT read_only AND only_environments IS NULL
$$;

CREATE FUNCTION administered_projects() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT project_id FROM memberships() WHERE role = 'ADMIN' AND NOT read_only AND only_environments IS NULL
$$;

CREATE FUNCTION readable_environments() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT e.id FROM memberships() m JOIN environments e USING (project_id)
    WHERE (m.only_environments IS NULL OR e.id = ANY (m.only_environments))
      AND (m.role = 'ADMIN' OR NOT e.is_production)
$$;

CREATE FUNCTION writable_environments() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT e.id FROM memberships() m JOIN environments e USING (project_id)
    WHERE (m.only_environments IS NULL OR e.id = ANY (m.only_environments)) AND NOT m.read_only
      AND (m.role = 'ADMIN' OR (m.role = 'DEVELOPER' AND NOT e.is_production))
$$;

-- Row-level security on every table, also for their owner. What no policy allows is not there.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'projects', 'project_revisions', 'revision_log', 'environments',
        'project_members', 'project_secret_registry', 'secrets', 'secret_versions', 'key_exemptions',
        'encryption_keys', 'project_hash_keys', 'audit_logs', 'audit_seals', 'deliveries']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY definer ON %I TO tidelock_definer USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tidelock_definer', name);
        EXECUTE format('GRANT SELECT ON %I TO tidelock_app, tidelock_operator', name);
    END LOOP;
END $$;
REVOKE SELECT ON audit_seals, deliveries FROM tidelock_app, tidelock_operator;
GRANT SELECT ON schema_floor TO PUBLIC;
GRANT USAGE ON SCHEMA @schema@ TO tidelock_app, tidelock_operator, tidelock_definer;

-- Users: names are for everyone, mapping logins is the owner's.
CREATE POLICY readers ON users FOR SELECT TO tidelock_app, tidelock_operator USING (true);
CREATE POLICY owner ON users TO CURRENT_USER USING (true) WITH CHECK (true);

CREATE POLICY members ON projects FOR SELECT TO tidelock_app, tidelock_operator
    USING (id IN (SELECT visible_projects()));
CREATE POLICY members ON project_revisions FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY members ON revision_log FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY members ON project_secret_registry FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY members ON key_exemptions FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY members ON project_hash_keys FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY members ON encryption_keys FOR SELECT TO tidelock_app, tidelock_operator USING (true);

-- Environments: developers make their own, production is made by an ADMIN.
CREATE POLICY members ON environments FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY creators ON environments FOR INSERT TO tidelock_app
    WITH CHECK (project_id IN (SELECT administered_projects())
        OR (NOT is_production AND project_id IN (SELECT developed_projects())));
CREATE POLICY changers ON environments FOR UPDATE TO tidelock_app
    USING (project_id IN (SELECT administered_projects()));
GRANT INSERT (id, project_id, name, is_production, ring), UPDATE (is_production, ring, deleted_at) ON environments TO tidelock_app;

CREATE POLICY members ON project_members FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects()));
CREATE POLICY admins ON project_members TO tidelock_app
    USING (project_id IN (SELECT administered_projects()));
GRANT INSERT (project_id, user_id, role, only_environments, read_only, expires_at),
    UPDATE (role, only_environments, read_only, expires_at), DELETE ON project_members TO tidelock_app;

CREATE POLICY admins ON project_secret_registry FOR UPDATE TO tidelock_app
    USING (project_id IN (SELECT administered_projects()));
GRANT UPDATE (tracking, description, retired_at) ON project_secret_registry TO tidelock_app;

CREATE POLICY readers ON secrets FOR SELECT TO tidelock_app, tidelock_operator
    USING (environment_id IN (SELECT readable_environments()));
CREATE POLICY creators ON secrets FOR INSERT TO tidelock_app
    WITH CHECK (environment_id IN (SELECT writable_environments()));
CREATE POLICY changers ON secrets FOR UPDATE TO tidelock_app
    USING (environment_id IN (SELECT writable_environments()));
GRANT INSERT, UPDATE (encrypted_value, value_hash, version, updated_at, deleted_at, answers) ON secrets TO tidelock_app;

CREATE POLICY readers ON secret_versions FOR SELECT TO tidelock_app, tidelock_operator
    USING (environment_id IN (SELECT readable_environments()));

CREATE POLICY writers ON key_exemptions TO tidelock_app
    USING (environment_id IN (SELECT writable_environments()));
GRANT INSERT (project_id, environment_id, key_name, reason), DELETE ON key_exemptions TO tidelock_app;

CREATE POLICY writers ON project_hash_keys FOR INSERT TO tidelock_app
    WITH CHECK ((project_id, ring) IN (SELECT e.project_id, e.ring FROM environments e WHERE e.id IN (SELECT writable_environments())));
GRANT INSERT (project_id, hash_key_id, ring, sealed) ON project_hash_keys TO tidelock_app;

-- Hashes of production values are for those who may read production.
CREATE POLICY readers ON audit_logs FOR SELECT TO tidelock_app, tidelock_operator
    USING (project_id IN (SELECT visible_projects())
        AND (environment_id IS NULL OR environment_id IN (SELECT readable_environments())));
