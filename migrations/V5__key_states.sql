-- What everyone in a project may know of all its keys: states and times, no value and no hash.

-- What one key is in one environment.
CREATE FUNCTION state_of(updated_at timestamptz, registered_at timestamptz, exempt boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN updated_at IS NULL AND exempt THEN 'Exempt'
                WHEN updated_at IS NULL THEN 'Missing'
                WHEN registered_at IS NULL THEN 'Unregistered'
                WHEN updated_at < registered_at THEN 'Stale'
                ELSE 'InSync' END
$$;

-- What an environment has of all keys that are registered or live: the registry's time, whether it is exempt, and the live row
-- without what it is sealed as. Whoever calls it has asked who may know. Tables are joined whole: a plan made while they
-- were one page would compare each row with each.
CREATE FUNCTION all_key_rows(project uuid, environment uuid)
RETURNS TABLE (key text, last_updated_at timestamptz, is_exempt boolean, id uuid, value_hash text, version bigint, updated_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp
SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT coalesce(r.key_name, s.key), r.last_updated_at, x.key_name IS NOT NULL, s.id, s.value_hash, s.version, s.updated_at
    FROM (SELECT * FROM project_secret_registry o WHERE o.project_id = all_key_rows.project AND o.retired_at IS NULL) r
    FULL JOIN (SELECT * FROM secrets o WHERE o.environment_id = all_key_rows.environment AND o.deleted_at IS NULL) s
        ON s.key = r.key_name
    LEFT JOIN (SELECT * FROM key_exemptions o WHERE o.environment_id = all_key_rows.environment) x
        ON x.key_name = coalesce(r.key_name, s.key);
END $$;

-- Of all keys in all environments or one, one environment after the other: what other projects have costs nothing.
CREATE FUNCTION all_key_states(project uuid, only_in uuid)
RETURNS TABLE (project_id uuid, environment_id uuid, environment text, key_name text, state text,
               updated_at timestamptz, last_updated_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    here record;
BEGIN
    FOR here IN SELECT e.id, e.name FROM environments e
            WHERE e.project_id = all_key_states.project AND e.deleted_at IS NULL AND (only_in IS NULL OR e.id = only_in) LOOP
        RETURN QUERY
        SELECT all_key_states.project, here.id, here.name, r.key, state_of(r.updated_at, r.last_updated_at, r.is_exempt),
               r.updated_at, r.last_updated_at
        FROM all_key_rows(all_key_states.project, here.id) r;
    END LOOP;
END $$;

-- Of all keys, or of those that are named: these are looked up one by one, however many there are.
CREATE FUNCTION @api@.key_states_of(project uuid, keys text[] DEFAULT NULL, only_in uuid DEFAULT NULL)
RETURNS TABLE (project_id uuid, environment_id uuid, environment text, key_name text, state text,
               updated_at timestamptz, last_updated_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT is_member(project) THEN
        RETURN;
    END IF;
    IF keys IS NOT NULL THEN
        RETURN QUERY
        SELECT e.project_id, e.id, e.name, k.name, state_of(s.updated_at, r.last_updated_at, x.key_name IS NOT NULL), s.updated_at, r.last_updated_at
        FROM environments e CROSS JOIN (SELECT DISTINCT unnest(keys) AS name) k
        LEFT JOIN LATERAL (SELECT * FROM project_secret_registry o WHERE o.project_id = e.project_id AND o.key_name = k.name
                           AND o.retired_at IS NULL OFFSET 0) r ON true
        LEFT JOIN LATERAL (SELECT * FROM secrets o WHERE o.environment_id = e.id AND o.key = k.name
                           AND o.deleted_at IS NULL OFFSET 0) s ON true
        LEFT JOIN LATERAL (SELECT * FROM key_exemptions o WHERE o.environment_id = e.id AND o.key_name = k.name
                           OFFSET 0) x ON true
        WHERE e.project_id = key_states_of.project AND e.deleted_at IS NULL AND (only_in IS NULL OR e.id = only_in)
          AND (r.key_name IS NOT NULL OR s.id IS NOT NULL);
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM all_key_states(project, only_in);
END $$;

-- What triggers keep, counted again, for the projects of whoever asks. Nothing is the healthy answer.
CREATE FUNCTION @api@.registry_findings()
RETURNS TABLE (project text, finding text, stored text, counted text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    WITH seen AS (SELECT p.* FROM projects p WHERE p.id IN (SELECT visible_projects()))
    SELECT p.name, 'live_secrets of environment ' || e.name, e.live_secrets::text, n.counted::text
    FROM seen p JOIN environments e ON e.project_id = p.id
    CROSS JOIN LATERAL (SELECT count(*) AS counted FROM secrets s WHERE s.environment_id = e.id AND s.deleted_at IS NULL) n
    WHERE n.counted <> e.live_secrets
    UNION ALL
    SELECT p.name, 'key ' || s.key || ' is live but not registered', NULL, NULL
    FROM seen p JOIN secrets s ON s.project_id = p.id AND s.deleted_at IS NULL
    LEFT JOIN project_secret_registry r ON r.project_id = p.id AND r.key_name = s.key AND r.retired_at IS NULL
    WHERE r.key_name IS NULL
    UNION ALL
    SELECT p.name, 'key ' || r.key_name || ' is newer in an environment than in the registry', spelled(r.last_updated_at), spelled(max(s.updated_at))
    FROM seen p JOIN project_secret_registry r ON r.project_id = p.id AND r.tracking = 'tracked'
    JOIN secrets s ON s.project_id = p.id AND s.key = r.key_name
    GROUP BY p.name, r.key_name, r.last_updated_at HAVING max(s.updated_at) > r.last_updated_at
    UNION ALL
    SELECT p.name, 'revision and its log', c.revision::text || ' ' || c.token, l.revision::text || ' ' || l.token
    FROM seen p JOIN project_revisions c ON c.project_id = p.id
    LEFT JOIN LATERAL (SELECT revision, token FROM revision_log WHERE project_id = p.id ORDER BY revision DESC LIMIT 1) l ON true
    WHERE (c.revision, c.token) IS DISTINCT FROM (l.revision, l.token)
    UNION ALL
    SELECT '-', 'this registry is a subscriber, and takes no writes: they go to the publisher', NULL, NULL FROM schema_floor f WHERE f.subscriber_since IS NOT NULL
$$;

-- Sets the counts right in the projects that the actor administers; answers how many it corrected.
CREATE FUNCTION @api@.repair_registry() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    project record;
    corrected bigint := 0;
    here bigint;
BEGIN
    FOR project IN SELECT p.id, p.name FROM projects p WHERE p.id IN (SELECT administered_projects()) AND p.archived_at IS NULL
            ORDER BY p.id LOOP
        PERFORM @api@.begin_change(project.name, CASE WHEN is_blank(current_setting('tidelock.reason', true))
            THEN 'registry check --repair' ELSE current_setting('tidelock.reason', true) END);
        UPDATE environments e SET live_secrets = n.counted
            FROM (SELECT x.id, (SELECT count(*) FROM secrets s WHERE s.environment_id = x.id AND s.deleted_at IS NULL) AS counted
                  FROM environments x WHERE x.project_id = project.id) n
            WHERE e.id = n.id AND e.live_secrets <> n.counted;
        GET DIAGNOSTICS here = ROW_COUNT;
        IF here > 0 THEN
            INSERT INTO audit_logs (project_id, action, subject) VALUES (project.id, 'registry.repair', here || ' counts');
        END IF;
        corrected := corrected + here;
    END LOOP;
    RETURN corrected;
END $$;
