-- Who is asking, what they may see, and row-level security that says so.
--
-- The actor is the database login. The helpers below read tables that are themselves under FORCEd row-level security;
-- were they owned by the tables' owner, a policy that calls them would call itself. So they belong to a third role,
-- tidelock_definer, which nobody logs in as and which has policies of its own. Each of them pins its search path, or a
-- temporary table could stand in for one of ours.

-- 'TL404' not found or not a member, 'TL403' refused, 'TL409' somebody else was first, 'TL422' makes no sense.

-- In a session that plays back what another server did, triggers of views do not fire, so that a write to one comes to nothing and
-- says that it was done, and no foreign key holds. An administrator may have set a login to that. Behind triggers of tables,
-- which fire there too, it is such a session indeed.
CREATE FUNCTION at_origin() RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND pg_trigger_depth() = 0 THEN
        RAISE EXCEPTION 'session_replication_role is replica, in which rules are skipped'
            USING ERRCODE = 'TL403', HINT = 'Have an administrator take the setting from the login or the database.';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION actor() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    -- A variable has the database's collation, as the index on db_role; session_user has its own, cast or not.
    login text := session_user;
    claimed text := nullif(current_setting('tidelock.acting_user', true), '');
    own_oid oid := quote_ident(session_user)::regrole;
    found_id uuid;
    found_role text;
    found_oid oid;
    disabled boolean;
BEGIN
    IF current_setting('session_replication_role') = 'replica' THEN
        PERFORM at_origin();
    END IF;
    IF claimed IS NULL THEN
        SELECT id, db_role_oid INTO found_id, found_oid FROM users WHERE db_role = login AND disabled_at IS NULL;
        IF found_oid = own_oid THEN
            RETURN found_id;
        ELSIF own_oid = (SELECT relowner FROM pg_class WHERE oid = 'users'::regclass) THEN
            -- Also where a restore has given the tables to another login, or to one that was made since: it confirms the others.
            RETURN (SELECT id FROM users WHERE kind = 'owner' AND disabled_at IS NULL ORDER BY created_at, id LIMIT 1);
        END IF;
        -- Of another login, which had the same name.
        RETURN NULL;
    END IF;
    SELECT id, db_role, db_role_oid INTO found_id, found_role, found_oid FROM users WHERE name = claimed AND disabled_at IS NULL;
    IF found_role = session_user::text AND found_oid = own_oid THEN
        RETURN found_id;
    END IF;
    SELECT disabled_at IS NOT NULL INTO disabled FROM users WHERE db_role = login;
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
    IF acting IS NULL AND EXISTS (SELECT FROM users WHERE db_role = session_user::text AND disabled_at IS NULL) THEN
        RAISE EXCEPTION 'login % was made after the one that the user of that login was mapped to', session_user
            USING ERRCODE = 'TL403', HINT = 'If it is theirs, have the registry''s owner run: tidelock user confirm NAME';
    ELSIF acting IS NULL THEN
        RAISE EXCEPTION 'login % is no user of this registry, so it can change nothing', session_user
            USING ERRCODE = 'TL403', HINT = 'Have the registry''s owner run: tidelock user add NAME --db-role ' || session_user;
    END IF;
    RETURN acting;
END $$;

-- Which login a user is, is this server's word and nobody's who writes. A role is known by its number: the name of one that was
-- dropped may be another's by now. What comes from another server, by a dump or a subscription, says nothing about this one's
-- roles until somebody confirms it: in a dump by its number, which is none of this server's, and where rows are applied by
-- none.
CREATE FUNCTION stamp_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    is_applied boolean := current_setting('session_replication_role') = 'replica';
    is_confirmed boolean := TG_OP = 'UPDATE' AND NEW.db_role_oid IS DISTINCT FROM OLD.db_role_oid AND NOT is_applied;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.db_role IS NOT DISTINCT FROM OLD.db_role AND NOT is_confirmed THEN
        NEW.db_role_oid := OLD.db_role_oid;
    ELSE
        NEW.db_role_oid := CASE WHEN NOT is_applied THEN to_regrole(quote_ident(NEW.db_role)) END;
    END IF;
    IF is_confirmed AND NEW.db_role IS NOT NULL AND NEW.db_role_oid IS NULL THEN
        RAISE EXCEPTION 'there is no login %', NEW.db_role USING ERRCODE = 'TL404', HINT = 'Have it made first.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp_user();

-- A time as texts have it, whatever the session's time zone and style.
CREATE FUNCTION spelled(at timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT CASE WHEN isfinite(at) THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') ELSE 'infinity' END
$$;

-- For what somebody will question one day.
CREATE FUNCTION require_reason(reason text, what text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF is_blank(reason) THEN
        RAISE EXCEPTION '% needs a reason', what USING ERRCODE = 'TL422', HINT = 'Say why: SELECT begin_change(project, reason)';
    END IF;
END $$;

-- Memberships of the actor that count now.
CREATE FUNCTION memberships() RETURNS SETOF project_members
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT * FROM project_members
    WHERE user_id = (SELECT actor()) AND (expires_at IS NULL OR expires_at > clock_timestamp())
$$;

-- The actor's membership of one project, if it counts now. The look-up is by both keys of the table of members, and who is
-- asking is known before it: where there is no membership it reads the same, whether there is a project or not.
CREATE FUNCTION own_membership(project uuid) RETURNS SETOF project_members
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    acting uuid := actor();
BEGIN
    RETURN QUERY SELECT * FROM project_members m WHERE m.project_id = project AND m.user_id = acting
        AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp());
END $$;

CREATE FUNCTION is_member(project uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT EXISTS (SELECT FROM own_membership(project))
$$;

CREATE FUNCTION is_writer(project uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT EXISTS (SELECT FROM own_membership(project) m WHERE m.role IN ('ADMIN', 'DEVELOPER') AND NOT m.read_only)
$$;

CREATE FUNCTION is_developer(project uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT EXISTS (SELECT FROM own_membership(project) m
                   WHERE m.role IN ('ADMIN', 'DEVELOPER') AND NOT m.read_only AND m.only_environments IS NULL)
$$;

CREATE FUNCTION is_administrator(project uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT EXISTS (SELECT FROM own_membership(project) m
                   WHERE m.role = 'ADMIN' AND NOT m.read_only AND m.only_environments IS NULL)
$$;

-- Whether a membership extends to an environment's values.
CREATE FUNCTION covers(membership project_members, environment environments) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT (membership.only_environments IS NULL OR environment.id = ANY (membership.only_environments))
        AND (membership.role = 'ADMIN' OR NOT environment.is_production)
$$;

-- One environment, if the actor may read its values, or write there. Nothing is looked up for who is no member.
CREATE FUNCTION may_read(project uuid, environment uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    membership project_members;
BEGIN
    SELECT * INTO membership FROM own_membership(project);
    RETURN membership.project_id IS NOT NULL AND EXISTS (
        SELECT FROM environments e JOIN projects p ON p.id = e.project_id
        WHERE e.project_id = project AND e.id = environment AND p.archived_at IS NULL AND covers(membership, e));
END $$;

CREATE FUNCTION may_write(project uuid, environment uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    membership project_members;
BEGIN
    SELECT * INTO membership FROM own_membership(project);
    RETURN membership.project_id IS NOT NULL AND membership.role IN ('ADMIN', 'DEVELOPER') AND NOT membership.read_only
        AND EXISTS (SELECT FROM environments e
                    WHERE e.project_id = project AND e.id = environment AND covers(membership, e));
END $$;

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

-- Row-level security on every table, also for their owner, behind the missing privileges: what no policy allows is not
-- there.
--
-- Nobody but the owner and tidelock_definer has a privilege on any table. Whoever may put a condition of their own before
-- a policy learns from plans, counts and statistics what is hidden from them, row by row; whoever may write to a table may
-- lock it. So logins reach the rows through the interface alone (V7, V8): functions, which no condition gets into.
--
-- A backup reads all rows by a policy of its own. To whoever else has the right to a table, its owner or a reader of all
-- data, an error says that there are rows to be hidden: without, their pg_dump --enable-row-security would end well and
-- hold nothing.
CREATE FUNCTION refuse_partial_look() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'row-level security hides rows of the registry from %', current_user
        USING ERRCODE = 'insufficient_privilege', HINT = 'For a backup, use a login with the role tidelock_backup: tidelock registry backup FILE';
END $$;
GRANT EXECUTE ON FUNCTION refuse_partial_look() TO pg_read_all_data;

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
        EXECUTE format('CREATE POLICY backup ON %I FOR SELECT TO tidelock_backup USING (true)', name);
        EXECUTE format('CREATE POLICY hidden ON %I FOR SELECT USING (refuse_partial_look())', name);
        EXECUTE format('GRANT SELECT ON %I TO tidelock_backup', name);
    END LOOP;
END $$;
GRANT SELECT ON schema_floor TO tidelock_definer;
GRANT SELECT ON schema_floor, schema_migrations TO tidelock_backup;
GRANT USAGE ON SCHEMA @schema@, @api@ TO tidelock_definer;
GRANT USAGE ON SCHEMA @schema@ TO tidelock_backup;
GRANT USAGE ON SCHEMA @api@ TO tidelock_app, tidelock_operator;

-- Mapping logins is the owner's.
CREATE POLICY owner ON users TO CURRENT_USER USING (true) WITH CHECK (true);
