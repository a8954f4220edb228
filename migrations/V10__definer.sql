-- Hands the functions that look past row-level security to the role whose policies they use, and lets the
-- application's roles call just those that are meant for them.

GRANT CREATE ON SCHEMA @schema@, @api@ TO tidelock_definer;
DO $$
DECLARE
    helper record;
BEGIN
    FOR helper IN SELECT p.oid::regprocedure AS name, p.prosecdef, p.pronamespace = to_regnamespace($n$@api@$n$) AS is_interface,
                p.provolatile = 'v' AS writes
            FROM pg_proc p WHERE p.pronamespace IN (to_regnamespace($n$@schema@$n$), to_regnamespace($n$@api@$n$)) LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', helper.name);
        IF helper.prosecdef THEN
            EXECUTE format('ALTER FUNCTION %s OWNER TO tidelock_definer', helper.name);
        ELSE
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidelock_definer', helper.name);
        END IF;
        IF helper.is_interface THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidelock_app', helper.name);
            IF NOT helper.writes THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidelock_operator', helper.name);
            END IF;
        END IF;
    END LOOP;

    -- Those that stand behind views; the owner looks at users.
    GRANT EXECUTE ON FUNCTION shown_users(), at_origin() TO CURRENT_USER;
    FOR helper IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = to_regnamespace($n$@schema@$n$)
            AND (p.proname ~ '^shown_' OR p.proname IN ('memberships', 'visible_projects', 'at_origin')) LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidelock_app, tidelock_operator', helper.name);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA @schema@, @api@ FROM tidelock_definer;

-- The owner's login adds users and maps logins; as a user it is of no project, so it does nothing else.
INSERT INTO users (name, db_role, kind) VALUES ('registry-owner', session_user, 'owner');
