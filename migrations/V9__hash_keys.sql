-- A project's other hashing key: when the one that it has became known, an ADMIN introduces another, and every hash is made
-- anew from its value, by the program that can open it.
--
-- The rows of one key are rewritten together, so that the hashes of a key stay comparable all the time: until its turn comes,
-- whoever writes the key hashes under the older one, too. Versions follow; nothing compares them as it writes. Values whose key
-- was purged open for nobody, and keep their hashes.

-- The rows of the next keys, in their order, whose hash is not under the newest hashing key.
CREATE FUNCTION @api@.hashes_behind(project uuid, after text, keys integer)
RETURNS TABLE (environment_id uuid, environment text, id uuid, key text, version bigint, encrypted_value text, value_hash text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp
SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    newest text;
BEGIN
    IF NOT is_administrator(project) THEN
        RETURN;
    END IF;
    newest := newest_hash_key(project);
    RETURN QUERY
    WITH next AS MATERIALIZED (
        SELECT DISTINCT s.key FROM secrets s
        WHERE s.project_id = hashes_behind.project AND s.key > hashes_behind.after AND hash_key_of(s.value_hash) IS DISTINCT FROM newest
          AND NOT is_purged_name(s.key)
        ORDER BY s.key LIMIT hashes_behind.keys)
    SELECT s.environment_id, e.name, s.id, s.key, s.version, s.encrypted_value, s.value_hash
    FROM next n CROSS JOIN LATERAL (
        SELECT * FROM secrets o WHERE o.project_id = hashes_behind.project AND o.key = n.key OFFSET 0) s
    JOIN environments e ON e.id = s.environment_id
    WHERE hash_key_of(s.value_hash) IS DISTINCT FROM newest;
END $$;

-- The next earlier versions of the same kind, in the order of their keys, rows and numbers.
CREATE FUNCTION @api@.version_hashes_behind(project uuid, after_key text, after_id uuid, after_version bigint, versions integer)
RETURNS TABLE (environment_id uuid, environment text, id uuid, key text, version bigint, encrypted_value text, value_hash text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    newest text;
BEGIN
    IF NOT is_administrator(project) THEN
        RETURN;
    END IF;
    newest := newest_hash_key(project);
    RETURN QUERY
    SELECT v.environment_id, e.name, v.secret_id, s.key, v.version, v.encrypted_value, v.value_hash
    FROM secrets s JOIN secret_versions v ON v.secret_id = s.id JOIN environments e ON e.id = v.environment_id
    WHERE s.project_id = version_hashes_behind.project AND s.key >= after_key
      AND (s.key, v.secret_id, v.version) > (after_key, after_id, after_version)
      AND hash_key_of(v.value_hash) IS DISTINCT FROM newest AND NOT is_purged_name(s.key)
    ORDER BY s.key, v.secret_id, v.version LIMIT versions;
END $$;

-- Whether an older hashing key still has hashes: whoever began to rewrite them did not come to the end.
CREATE FUNCTION @api@.is_rehash_unfinished(project uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    older text[];
BEGIN
    IF NOT is_administrator(project) THEN
        RETURN NULL;
    END IF;
    older := ARRAY(SELECT k.hash_key_id FROM project_hash_keys k
                   WHERE k.project_id = project AND k.hash_key_id <> newest_hash_key(project));
    RETURN older <> '{}' AND (
        EXISTS (SELECT FROM secrets s WHERE s.project_id = project AND hash_key_of(s.value_hash) = ANY (older)
                AND NOT is_purged_name(s.key))
        OR EXISTS (SELECT FROM secrets s JOIN secret_versions v ON v.secret_id = s.id
                   WHERE s.project_id = project AND hash_key_of(v.value_hash) = ANY (older) AND NOT is_purged_name(s.key)));
END $$;

-- Under which hashing key keys are hashed just now, for those of them that are live anywhere.
CREATE FUNCTION @api@.hash_keys_in_use(project uuid, keys text[]) RETURNS TABLE (key text, hash_key_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
    newest text;
BEGIN
    IF NOT is_member(project) THEN
        RETURN;
    END IF;
    newest := newest_hash_key(project);
    RETURN QUERY
    SELECT k.name, used.hash_key_id FROM (SELECT DISTINCT unnest(keys) AS name) k CROSS JOIN LATERAL (
        SELECT hash_key_of(o.value_hash) AS hash_key_id FROM secrets o
        WHERE o.project_id = hash_keys_in_use.project AND o.key = k.name AND o.deleted_at IS NULL
          AND hash_key_of(o.value_hash) IS NOT NULL
        ORDER BY hash_key_of(o.value_hash) = newest DESC LIMIT 1) used;
END $$;

-- Rows and earlier versions by their numbers, which together tell what was hashed. Answers how many were rewritten.
CREATE FUNCTION @api@.rewrite_hashes(project uuid, ids uuid[], versions bigint[], hashes text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    newest text;
    live bigint;
    entries audit_entry[];
BEGIN
    PERFORM require_member(project, true);
    newest := newest_hash_key(project);
    IF EXISTS (SELECT FROM unnest(hashes) h WHERE NOT is_value_hash(h) OR hash_key_of(h) IS DISTINCT FROM newest) THEN
        RAISE EXCEPTION 'hashes are rewritten under the newest hashing key of the project, which is %', newest USING ERRCODE = 'TL409';
    END IF;
    UPDATE secrets s SET value_hash = n.hash FROM unnest(ids, versions, hashes) AS n (id, version, hash)
        WHERE s.id = n.id AND s.version = n.version AND s.project_id = project AND s.value_hash <> n.hash;
    GET DIAGNOSTICS live = ROW_COUNT;

    WITH given AS (
        SELECT v.secret_id, v.version, v.environment_id, v.value_hash AS old_hash, n.hash, s.key
        FROM unnest(ids, versions, hashes) AS n (id, version, hash)
        JOIN secret_versions v ON v.secret_id = n.id AND v.version = n.version
        JOIN secrets s ON s.id = v.secret_id
        WHERE s.project_id = project AND hash_key_of(v.value_hash) IS DISTINCT FROM newest
    ), rewritten AS (
        UPDATE secret_versions v SET value_hash = g.hash FROM given g WHERE v.secret_id = g.secret_id AND v.version = g.version
    )
    SELECT array_agg((g.environment_id, 'secret.rehash', g.key, g.old_hash, g.hash)::audit_entry ORDER BY g.key, g.secret_id, g.version)
        INTO entries FROM given g;
    PERFORM append_audit(project, entries);
    RETURN live + coalesce(cardinality(entries), 0);
END $$;
