-- Hands the functions that look past row-level security to the role whose policies they use, and lets the
-- application's roles call just those that are meant for them.

GRANT CREATE ON SCHEMA @schema@ TO tidelock_definer;
DO $$
DECLARE
    helper regprocedure;
BEGIN
    FOR helper IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = to_regnamespace(quote_ident(current_schema())) LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', helper);
        IF (SELECT prosecdef FROM pg_proc WHERE oid = helper) THEN
            EXECUTE format('ALTER FUNCTION %s OWNER TO tidelock_definer', helper);
        ELSE
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidelock_definer', helper);
        END IF;
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA @schema@ FROM tidelock_definer;

GRANT EXECUTE ON FUNCTION actor(), memberships(), visible_projects(), developed_projects(), administered_projects(),
    readable_environments(), writable_environments(), key_states_of(uuid), registry_findings()
    TO tidelock_app, tidelock_operator;
GRANT EXECUTE ON FUNCTION begin_change(text, text), create_project(text, text), archive_project(text, text), repair_registry()
    TO tidelock_app;
GRANT EXECUTE ON FUNCTION audit_link(bytea, audit_logs), audit_field(bytea) TO tidelock_app, tidelock_operator;
