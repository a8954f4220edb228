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

-- The projects that the actor is a member of. Begins with the memberships and looks up nothing by a name that it was given:
-- what is read does not depend on what else there is.
CREATE FUNCTION own_projects() RETURNS SETOF projects
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT p.* FROM memberships() m JOIN projects p ON p.id = m.project_id
$$;

CREATE FUNCTION developed_projects() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT project_id FROM memberships() WHERE role IN ('ADMIN', 'DEVELOPER') AND NOT read_only AND only_environments IS NULL
$$;

CREATE FUNCTION administered_projects() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT project_id FROM memberships() WHERE role = 'ADMIN' AND NOT read_only AND only_environments IS NULL
$$;

-- The values of an archived project are for nobody.
CREATE FUNCTION readable_environments() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT e.id FROM memberships() m JOIN environments e USING (project_id) JOIN projects p ON p.id = m.project_id
    WHERE (m.only_environments IS NULL OR e.id = ANY (m.only_environments))
      AND (m.role = 'ADMIN' OR NOT e.is_production) AND p.archived_at IS NULL
$$;

CREATE FUNCTION writable_environments() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT e.id FROM memberships() m JOIN environments e USING (project_id)
    WHERE (m.only_environments IS NULL OR e.id = ANY (m.only_environments)) AND NOT m.read_only
      AND (m.role = 'ADMIN' OR (m.role = 'DEVELOPER' AND NOT e.is_production))
$$;

-- Row-level security on every table, also for their owner, behind the missing privileges: what no policy allows is not
-- there.
--
-- Nobody but the owner and tidelock_definer has a privilege on any table. Whoever may put a condition of their own before
-- a policy learns from plans, counts and statistics what is hidden from them, row by row; whoever may write to a table may
-- lock it. So logins reach the rows through the interface alone (V7): functions, which no condition gets into.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'projects', 'project_revisions', 'revision_log', 'environments',
        'project_members', 'project_secret_registry', 'secrets', 'secret_versions', 'key_exemptions',
        'encryption_keys', 'project_hash_keys', 'audit_logs', 'audit_seals', 'deliveries', 'notify_turn']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY definer ON %I TO tidelock_definer USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tidelock_definer', name);
    END LOOP;
END $$;
GRANT SELECT ON schema_floor TO tidelock_definer;
GRANT USAGE ON SCHEMA @schema@, @api@ TO tidelock_definer;
GRANT USAGE ON SCHEMA @api@ TO tidelock_app, tidelock_operator;

-- Mapping logins is the owner's.
CREATE POLICY owner ON users TO CURRENT_USER USING (true) WITH CHECK (true);
