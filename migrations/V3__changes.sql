-- What a write does, whoever writes: the mutex, the revision, times that only grow, change, follow and confirm.

-- Refuses whoever does not write to the project.
CREATE FUNCTION require_writer(project uuid, name text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF project IS NULL OR NOT is_member(project) THEN
        RAISE EXCEPTION 'project % not found, or you are not a member', CASE WHEN is_label(name) THEN name ELSE '(no name of one)' END
            USING ERRCODE = 'TL404';
    END IF;
    IF NOT is_writer(project) THEN
        RAISE EXCEPTION 'your membership of project % is read-only', name
            USING ERRCODE = 'TL403', HINT = 'Ask an ADMIN of the project for the role DEVELOPER or ADMIN.';
    END IF;
END $$;

-- The project's mutex for this transaction, and the reason that its audit rows give. First statement of every
-- transaction of ours; what becomes of one that leaves it out is take_mutex's matter.
--
-- Who may is asked before, so that nobody else makes anyone wait, and again under the mutex: it may have been taken away
-- by whoever held it.
CREATE FUNCTION @api@.begin_change(project text, reason text, may_be_archived boolean DEFAULT false) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    found_id uuid := (SELECT id FROM own_projects() WHERE name = begin_change.project);
BEGIN
    PERFORM require_actor();
    PERFORM require_writer(found_id, begin_change.project);
    PERFORM FROM project_revisions WHERE project_id = found_id FOR NO KEY UPDATE;
    PERFORM require_writer(found_id, begin_change.project);
    IF NOT may_be_archived AND (SELECT archived_at IS NOT NULL FROM projects WHERE id = found_id) THEN
        RAISE EXCEPTION 'project % is archived', begin_change.project USING ERRCODE = 'TL403';
    END IF;
    PERFORM set_config('tidelock.reason', coalesce(begin_change.reason, ''), true);
    PERFORM set_config('tidelock.begun', pg_current_xact_id()::text, true);
    RETURN found_id;
END $$;

-- For statements that nobody announced. By the time a trigger sees a row that row is locked, and whoever holds the mutex
-- and wants the row waits for one who waits for the mutex. So it is taken before any row is, and as nobody can tell yet
-- whose rows they will be, for every project that the actor may write, in one order.
--
-- The setting is a claim that any login can make; it gains a deadlock.
CREATE FUNCTION take_mutex() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF pg_trigger_depth() = 1 AND current_setting('tidelock.begun', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
        PERFORM FROM project_revisions
            WHERE project_id IN (SELECT m.project_id FROM memberships() m WHERE m.role IN ('ADMIN', 'DEVELOPER') AND NOT m.read_only)
            ORDER BY project_id FOR NO KEY UPDATE;
        PERFORM set_config('tidelock.begun', pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END $$;

-- One step of the project's revision per transaction that changes anything a reader can see. Returns its time.
--
-- The clock is read at the statement's start, so that stamp_secret knows the time of a step that is not made yet.
-- In an archived project nothing changes but who is a member of it: people leave it as they leave any other.
CREATE FUNCTION step_revision(project uuid, ends_membership boolean DEFAULT false) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    step project_revisions;
BEGIN
    IF NOT ends_membership AND (SELECT archived_at IS NOT NULL FROM projects WHERE id = step_revision.project) THEN
        RAISE EXCEPTION 'the project is archived' USING ERRCODE = 'TL403';
    END IF;
    SELECT * INTO step FROM project_revisions WHERE project_id = step_revision.project;
    IF step.transaction = pg_current_xact_id() AND step.began_at = now() THEN
        RETURN step.changed_at;
    END IF;
    PERFORM require_actor();
    IF NOT is_member(step_revision.project) THEN
        RAISE EXCEPTION 'project not found, or you are not a member' USING ERRCODE = 'TL404';
    END IF;
    UPDATE project_revisions r SET revision = r.revision + 1, token = gen_random_uuid(), transaction = pg_current_xact_id(),
            began_at = now(), changed_at = greatest(statement_timestamp(), r.changed_at + interval '1 microsecond')
        WHERE r.project_id = step_revision.project RETURNING * INTO step;
    INSERT INTO revision_log VALUES (step.project_id, step.revision, step.token, step.changed_at);
    RETURN step.changed_at;
END $$;

-- At commit, so that the lock behind the hint is held no longer than the commit itself. NOTIFY makes commits wait for
-- each other; whoever finds somebody else just notifying leaves it to them, and the poll to the rest.
CREATE FUNCTION finish_revision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    -- A revision that a crash can take back would come again as another one with the same number.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM FROM notify_turn FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        PERFORM pg_notify('tidelock', '');
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER finish AFTER INSERT ON revision_log DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION finish_revision();
ALTER TABLE revision_log ENABLE ALWAYS TRIGGER finish;

-- Whether an environment that is in sync for the key has that very value. Only environments that the writer may read
-- count: who wrote guesses into dev would otherwise learn from the time that a row gets, in transactions that leave no
-- trace, what production's value is. For the same reason the hash is compared last, of every row that counts: what is read
-- does not depend on the guess.
CREATE FUNCTION has_twin(written secrets, newest timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    membership project_members;
BEGIN
    SELECT * INTO membership FROM own_membership(written.project_id);
    RETURN (SELECT coalesce(bool_or(twin.value_hash = written.value_hash), false)
            FROM secrets twin JOIN environments e ON e.id = twin.environment_id
            WHERE twin.project_id = written.project_id AND twin.key = written.key
              AND twin.environment_id <> written.environment_id AND twin.deleted_at IS NULL AND twin.updated_at = newest
              AND e.deleted_at IS NULL AND covers(membership, e));
END $$;

-- The id of the hashing key that a hash was made under, of at most 64 characters; NULL where it was made without one. Without a search
-- path of its own, so that it is inlined; its callers pin theirs.
CREATE FUNCTION hash_key_of(value_hash text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT substring(left(value_hash, 68) FROM '^h1:([-_a-zA-Z0-9]+):') $$;

-- The hashing key that new hashes are made under: the last to be introduced, whatever rings it was sealed for since.
CREATE FUNCTION newest_hash_key(project uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT k.hash_key_id FROM project_hash_keys k WHERE k.project_id = project
    GROUP BY k.hash_key_id ORDER BY min(k.created_at) DESC LIMIT 1
$$;

-- Whether an ADMIN puts the hash under the newest hashing key in the place of another, and leaves all else.
CREATE FUNCTION is_rehash(old secrets, new secrets) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    RETURN (new.encrypted_value, new.version, new.updated_at, new.deleted_at, new.answers)
            IS NOT DISTINCT FROM (old.encrypted_value, old.version, old.updated_at, old.deleted_at, NULL::timestamptz)
        AND hash_key_of(new.value_hash) = newest_hash_key(new.project_id)
        AND hash_key_of(old.value_hash) IS DISTINCT FROM hash_key_of(new.value_hash)
        AND is_administrator(new.project_id);
END $$;

-- What stands for the name of a key that was purged (purge_key_name), in every row that had it.
CREATE FUNCTION is_purged_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT name ~ '^purged-[0-9a-f]{32}$' $$;

-- Whether a row's change of name is that of a purge. The setting is a claim that any login can make; none has the right to change a
-- name at all, but by that function.
CREATE FUNCTION is_being_purged(new_name text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT is_purged_name(new_name) AND current_setting('tidelock.purging', true) IS NOT DISTINCT FROM new_name
$$;

-- Decides what the write of one row is, and gives it its time.
--
-- A change gets a new time, after every time the key has had. A follow or confirm gets the registry time that it
-- answers, so a change that it did not know of leaves it stale, rightly.
--
-- Its look-ups are by index alone: a plan made while a table was one page would read all of it for each row. Nothing is
-- compiled: a plan that is forbidden and used all the same is dear enough for that, each time.
CREATE FUNCTION stamp_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    step_time timestamptz;
    known project_secret_registry;
    registered boolean;
    change_time timestamptz;
    answered timestamptz := NEW.answers;
    behind boolean;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.key <> OLD.key AND is_being_purged(NEW.key) THEN
        OLD.key := NEW.key;
        RETURN OLD;
    ELSIF NEW.deleted_at IS NULL AND is_purged_name(NEW.key) THEN
        RAISE EXCEPTION 'the name of this key was purged' USING ERRCODE = 'TL403', HINT = 'Write the value under another name.';
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.project_id, NEW.environment_id, NEW.key, NEW.created_at)
            IS DISTINCT FROM (OLD.id, OLD.project_id, OLD.environment_id, OLD.key, OLD.created_at) THEN
        RAISE EXCEPTION 'a secret keeps its id, project, environment and key' USING ERRCODE = 'TL422';
    END IF;

    -- The lock comes first: what is looked at under it stays so until the commit. The step itself is settle_writes', as
    -- an INSERT may still come to nothing (ON CONFLICT DO NOTHING).
    SELECT CASE WHEN r.transaction = pg_current_xact_id() AND r.began_at = now() THEN r.changed_at
                ELSE greatest(statement_timestamp(), r.changed_at + interval '1 microsecond') END
        INTO step_time FROM project_revisions r WHERE r.project_id = NEW.project_id FOR NO KEY UPDATE;
    IF TG_OP = 'UPDATE' AND NEW.value_hash <> OLD.value_hash AND NEW.version = OLD.version AND is_rehash(OLD, NEW) THEN
        RETURN NEW;
    END IF;
    IF NEW.deleted_at IS NULL AND (SELECT deleted_at IS NOT NULL FROM environments WHERE id = NEW.environment_id) THEN
        RAISE EXCEPTION 'the environment is deleted' USING ERRCODE = 'TL403';
    END IF;
    IF TG_OP = 'INSERT' AND (NEW.deleted_at IS NOT NULL OR NEW.version <> 1) THEN
        RAISE EXCEPTION 'a secret is created live, and at version 1' USING ERRCODE = 'TL422';
    END IF;

    SELECT * INTO known FROM project_secret_registry WHERE project_id = NEW.project_id AND key_name = NEW.key;
    registered := FOUND AND known.retired_at IS NULL;
    -- Not told by which name: it may be a secret in the wrong column.
    IF TG_OP = 'INSERT' AND NOT is_key_name(NEW.key) AND known.name_allowed IS NOT TRUE THEN
        RAISE EXCEPTION 'what a key is to be named is no name that a Secret takes' USING ERRCODE = 'TL422',
            HINT = 'Use letters, digits, ''-'', ''_'' or ''.''. Another name is allowed first: SELECT allow_key_names(project, environment, ARRAY[name])';
    END IF;
    change_time := greatest(step_time, known.last_updated_at + interval '1 microsecond');
    NEW.answers := NULL;
    IF answered > known.last_updated_at OR NOT isfinite(answered) OR (answered IS NOT NULL AND NOT registered) THEN
        RAISE EXCEPTION 'key % has not changed at %, so nothing can follow that', NEW.key, spelled(answered) USING ERRCODE = 'TL422';
    END IF;

    IF TG_OP = 'INSERT' THEN
        NEW.created_at := change_time;
        behind := true;
    ELSE
        -- An independent key's registry time stands still; the row's own does not.
        change_time := greatest(change_time, OLD.updated_at + interval '1 microsecond');
        IF OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NOT NULL THEN
            RAISE EXCEPTION 'key % is deleted here; restore it first', OLD.key USING ERRCODE = 'TL422';
        ELSIF NEW.deleted_at IS NOT NULL THEN
            -- Where its key has just been retired, that is the change, with a time after all of its rows (stamp_key).
            change_time := coalesce(known.retired_at, change_time);
            NEW := OLD;
            NEW.updated_at := change_time;
            NEW.deleted_at := change_time;
            RETURN NEW;
        ELSIF OLD.deleted_at IS NOT NULL THEN
            IF (NEW.encrypted_value, NEW.value_hash, NEW.version) IS DISTINCT FROM (OLD.encrypted_value, OLD.value_hash, OLD.version) THEN
                RAISE EXCEPTION 'key % is restored with the value that it had', OLD.key
                    USING ERRCODE = 'TL422', HINT = 'Restore it first, then write the new value; or insert a new row.';
            END IF;
            behind := true;
        ELSIF NEW.value_hash = OLD.value_hash THEN
            -- Confirmed: the stored ciphertext stays. Or repaired: the writer, who alone can tell that it no longer opens,
            -- brings another as the next version.
            IF NEW.version = OLD.version + 1 AND NEW.encrypted_value <> OLD.encrypted_value THEN
                NEW.updated_at := greatest(OLD.updated_at, coalesce(answered, known.last_updated_at));
                RETURN NEW;
            END IF;
            NEW := OLD;
            NEW.updated_at := greatest(OLD.updated_at, coalesce(answered, known.last_updated_at));
            RETURN NEW;
        ELSE
            IF NEW.encrypted_value = OLD.encrypted_value THEN
                RAISE EXCEPTION 'key % has a new value_hash over its old ciphertext', NEW.key USING ERRCODE = 'TL422';
            END IF;
            IF NEW.version = OLD.version THEN
                NEW.version := OLD.version + 1;
            ELSIF NEW.version <> OLD.version + 1 THEN
                RAISE EXCEPTION 'key % is at version %, so the next is %, not %', NEW.key, OLD.version, OLD.version + 1, NEW.version
                    USING ERRCODE = 'TL409', HINT = 'Somebody else changed it in between. Look again, then repeat.';
            END IF;
            behind := OLD.updated_at < known.last_updated_at;
        END IF;
        IF answered < OLD.updated_at THEN
            RAISE EXCEPTION 'key % was written here at %, after the % that this write answers', OLD.key, spelled(OLD.updated_at), spelled(answered)
                USING ERRCODE = 'TL409', HINT = 'Somebody else changed it in between. Look again, then repeat.';
        END IF;
    END IF;

    IF answered IS NOT NULL THEN
        IF NOT behind AND known.tracking = 'tracked' THEN
            RAISE EXCEPTION 'key % is in sync here, so another value is a change that others have to hear of', NEW.key
                USING ERRCODE = 'TL422', HINT = 'Leave out the follow.';
        END IF;
        NEW.updated_at := answered;
    ELSIF registered AND behind AND known.tracking = 'tracked' AND has_twin(NEW, known.last_updated_at) THEN
        NEW.updated_at := known.last_updated_at;
    ELSE
        NEW.updated_at := change_time;
    END IF;
    RETURN NEW;
END $$;

-- What one row's write came to, without its ciphertexts.
CREATE TYPE secret_write AS (
    environment_id uuid,
    key            text,
    key_id         text,
    updated_at     timestamptz,
    live           boolean,
    value_hash     text,
    was_live       boolean,
    old_hash       text,
    is_new_version boolean
);

-- What the audit log is told of one thing that was done (append_audit).
CREATE TYPE audit_entry AS (
    environment_id uuid,
    action         text,
    subject        text,
    old_value_hash text,
    new_value_hash text
);

-- The id of the encryption key that a text was sealed under, of at most 64 characters; NULL where it is not one of ours. Without a
-- search path of its own, so that it is inlined; its callers pin theirs.
CREATE FUNCTION sealed_under(sealed text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT substring(left(sealed, 68) FROM '^t1:([-_a-zA-Z0-9]+):') $$;

-- An encryption key belongs to the ring that it was first used in: a production value under another ring's could be opened
-- by whoever holds only that ring.
CREATE FUNCTION claim_encryption_key(key_id text, used_in text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    claimed text;
BEGIN
    INSERT INTO encryption_keys (id, ring) SELECT key_id, used_in WHERE key_id IS NOT NULL ON CONFLICT DO NOTHING;
    SELECT k.ring INTO claimed FROM encryption_keys k WHERE k.id = key_id;
    IF claimed <> used_in THEN
        RAISE EXCEPTION 'sealed under an encryption key of ring %, which does not seal for ring %', claimed, used_in
            USING ERRCODE = 'TL403', HINT = 'Use a keyring whose rings have encryption keys of their own.';
    END IF;
END $$;

-- Once per statement and project: audit, registry, counters.
--
-- What joins the registry is planned anew for each statement (EXECUTE): one row is looked up by index, whatever the caller
-- forbids, and ten thousand are not. Not by plan_cache_mode: the audit trigger and the foreign keys that run inside would
-- inherit it, and plan their look-ups anew for each row.
CREATE FUNCTION settle_writes(project uuid, writes secret_write[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_nestloop = on SET jit = off AS $$
DECLARE
    torn text;
    step_time timestamptz := step_revision(project);
BEGIN
    -- Two environments changed to different values at one instant: neither would be the newest. In one set of rows, or in
    -- this one and another of this transaction, as INSERT ... ON CONFLICT DO UPDATE and MERGE have two.
    EXECUTE $anew$
        SELECT w.key FROM unnest($2) w
        LEFT JOIN project_secret_registry r ON r.project_id = $1 AND r.key_name = w.key
        WHERE w.live AND (r.last_updated_at IS NULL OR (w.updated_at > r.last_updated_at AND r.tracking = 'tracked'))
        GROUP BY w.key HAVING count(DISTINCT w.value_hash) > 1
        UNION ALL
        SELECT w.key FROM unnest($2) w
        JOIN project_secret_registry r ON r.project_id = $1 AND r.key_name = w.key
        WHERE w.live AND w.is_new_version AND r.tracking = 'tracked' AND w.updated_at = r.last_updated_at AND w.updated_at >= $3
          AND EXISTS (SELECT FROM secrets s WHERE s.project_id = $1 AND s.key = w.key AND s.environment_id <> w.environment_id
                      AND s.deleted_at IS NULL AND s.updated_at = w.updated_at AND s.value_hash <> w.value_hash)
        LIMIT 1
    $anew$ INTO torn USING project, writes, step_time;
    IF torn IS NOT NULL THEN
        RAISE EXCEPTION 'key % would have different values in several environments at one instant', torn
            USING ERRCODE = 'TL422', HINT = 'Write them in statements of their own, or let the others follow.';
    END IF;

    PERFORM claim_encryption_key(used.key_id, used.ring)
        FROM (SELECT DISTINCT w.key_id, e.ring FROM unnest(writes) w JOIN environments e ON e.id = w.environment_id
              WHERE w.key_id IS NOT NULL AND w.is_new_version) used;

    EXECUTE $anew$
        SELECT append_audit($1, array_agg((w.environment_id,
               CASE WHEN w.old_hash <> w.value_hash AND NOT w.is_new_version THEN 'secret.rehash'
                    WHEN NOT w.live THEN 'secret.delete'
                    WHEN w.old_hash IS NOT NULL AND NOT w.was_live THEN 'secret.restore'
                    WHEN w.old_hash = w.value_hash AND w.is_new_version THEN 'secret.repair'
                    WHEN w.old_hash = w.value_hash THEN 'secret.confirm'
                    WHEN r.tracking = 'tracked' AND r.retired_at IS NULL AND w.updated_at <= r.last_updated_at THEN 'secret.follow'
                    WHEN w.old_hash IS NULL THEN 'secret.create'
                    ELSE 'secret.update' END,
               w.key, CASE WHEN w.was_live OR w.old_hash <> w.value_hash THEN w.old_hash END,
               CASE WHEN w.live OR w.old_hash <> w.value_hash THEN w.value_hash END)::audit_entry ORDER BY w.key, w.environment_id))
        FROM unnest($2) w LEFT JOIN project_secret_registry r ON r.project_id = $1 AND r.key_name = w.key
    $anew$ USING project, writes;

    EXECUTE $anew$
        UPDATE project_secret_registry r
        SET last_updated_at = n.latest, retired_at = CASE WHEN n.live THEN NULL ELSE r.retired_at END
        FROM (SELECT w.key, max(w.updated_at) AS latest, bool_or(w.live) AS live FROM unnest($2) w GROUP BY w.key) n
        WHERE r.project_id = $1 AND r.key_name = n.key AND n.latest > r.last_updated_at
          AND (r.tracking = 'tracked' OR r.retired_at IS NOT NULL)
    $anew$ USING project, writes;
    INSERT INTO project_secret_registry (project_id, key_name, last_updated_at)
        -- Another name is there already, as it was allowed: stamp_secret takes no other.
        SELECT project, w.key, max(w.updated_at) FROM unnest(writes) w WHERE is_key_name(w.key) GROUP BY w.key
        ON CONFLICT DO NOTHING;

    UPDATE environments e
        SET live_secrets = e.live_secrets + n.delta,
            revision = (SELECT r.revision FROM project_revisions r WHERE r.project_id = project)
        FROM (SELECT w.environment_id, sum(w.live::int - w.was_live::int) AS delta FROM unnest(writes) w
              WHERE w.live <> w.was_live OR w.is_new_version GROUP BY w.environment_id) n
        WHERE e.id = n.environment_id;
END $$;

-- The size of a transition table is taken when a statement is first parsed in a session, so the plan may think of one row
-- while ten thousand come: no nested loops. And the foreign key of secret_versions is looked up by a plan that the session
-- keeps, made perhaps while secrets was one page: by index.
CREATE FUNCTION settle_secrets() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp
SET enable_nestloop = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    project uuid;
    writes secret_write[];
BEGIN
    FOR project IN SELECT DISTINCT n.project_id FROM new_rows n LOOP
        IF TG_OP = 'INSERT' THEN
            SELECT array_agg((n.environment_id, n.key, sealed_under(n.encrypted_value), n.updated_at,
                    true, n.value_hash, false, NULL, true)::secret_write)
                INTO writes FROM new_rows n WHERE n.project_id = project;
        ELSE
            SELECT array_agg((n.environment_id, n.key, sealed_under(n.encrypted_value), n.updated_at,
                    n.deleted_at IS NULL, n.value_hash, o.deleted_at IS NULL, o.value_hash, n.version > o.version)::secret_write)
                INTO writes FROM new_rows n JOIN old_rows o USING (id) WHERE n.project_id = project AND n.key = o.key;
            -- A name that is purged is no write of a value.
            CONTINUE WHEN writes IS NULL;
            INSERT INTO secret_versions (secret_id, version, environment_id, encrypted_value, value_hash, replaced_at)
                SELECT o.id, o.version, o.environment_id, o.encrypted_value, o.value_hash, n.updated_at
                FROM new_rows n JOIN old_rows o USING (id) WHERE n.project_id = project AND n.version > o.version;
        END IF;
        PERFORM settle_writes(project, writes);
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER mutex BEFORE INSERT OR UPDATE ON secrets FOR EACH STATEMENT EXECUTE FUNCTION take_mutex();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON secrets FOR EACH ROW EXECUTE FUNCTION stamp_secret();
CREATE TRIGGER settle_inserts AFTER INSERT ON secrets REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION settle_secrets();
CREATE TRIGGER settle_updates AFTER UPDATE ON secrets REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION settle_secrets();

-- A key's definition: to retire it ends it everywhere; a new description or tracking makes every environment look.
CREATE FUNCTION stamp_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    step_time timestamptz;
    ahead timestamptz;
BEGIN
    IF NEW.key_name <> OLD.key_name AND is_being_purged(NEW.key_name) THEN
        RETURN NEW;
    END IF;
    -- Written by settle_writes, which has stamped it already.
    IF pg_trigger_depth() > 1 AND NEW.last_updated_at > OLD.last_updated_at THEN
        RETURN NEW;
    END IF;
    IF (NEW.project_id, NEW.key_name, NEW.last_updated_at, NEW.created_at)
            IS DISTINCT FROM (OLD.project_id, OLD.key_name, OLD.last_updated_at, OLD.created_at) THEN
        RAISE EXCEPTION 'key % keeps its project and name, and its times are set by what is written', OLD.key_name
            USING ERRCODE = 'TL422';
    END IF;
    IF (NEW.tracking, NEW.description, NEW.retired_at) IS NOT DISTINCT FROM (OLD.tracking, OLD.description, OLD.retired_at) THEN
        RETURN NULL;
    END IF;
    IF OLD.retired_at IS NOT NULL THEN
        RAISE EXCEPTION 'key % is retired', OLD.key_name
            USING ERRCODE = 'TL422', HINT = 'To set it in an environment brings it back.';
    END IF;
    -- The step is made once; of a hundred keys the others look its time up, by one statement. While a key was independent, its rows may
    -- have gone ahead of it.
    SELECT CASE WHEN r.transaction = pg_current_xact_id() AND r.began_at = now() THEN r.changed_at END,
            (SELECT max(s.updated_at) + interval '1 microsecond' FROM secrets s
             WHERE s.project_id = NEW.project_id AND s.key = NEW.key_name)
        INTO step_time, ahead FROM project_revisions r WHERE r.project_id = NEW.project_id;
    IF step_time IS NULL THEN
        step_time := step_revision(NEW.project_id);
    END IF;
    NEW.last_updated_at := greatest(step_time, OLD.last_updated_at + interval '1 microsecond', ahead);
    PERFORM require_reason(current_setting('tidelock.reason', true), 'to define or retire key ' || OLD.key_name);
    IF NEW.retired_at IS NOT NULL THEN
        NEW.retired_at := NEW.last_updated_at;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mutex BEFORE UPDATE ON project_secret_registry FOR EACH STATEMENT EXECUTE FUNCTION take_mutex();
CREATE TRIGGER stamp BEFORE UPDATE ON project_secret_registry FOR EACH ROW EXECUTE FUNCTION stamp_key();

-- Once per statement, as for secrets: a hundred keys that end together are one statement there, too.
CREATE FUNCTION settle_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp
SET enable_nestloop = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    project uuid;
    entries audit_entry[];
    retired text[];
BEGIN
    FOR project IN SELECT DISTINCT n.project_id FROM new_rows n ORDER BY n.project_id LOOP
        SELECT array_agg((NULL, CASE WHEN is_retired THEN 'key.retire' ELSE 'key.define' END, key_name, NULL, NULL)::audit_entry
                ORDER BY key_name),
            array_agg(key_name) FILTER (WHERE is_retired)
            INTO entries, retired
            FROM (SELECT n.key_name, n.retired_at IS NOT NULL AND o.retired_at IS NULL AS is_retired,
                      (n.tracking, n.description) IS DISTINCT FROM (o.tracking, o.description) AS is_defined
                  FROM new_rows n JOIN old_rows o USING (project_id, key_name) WHERE n.project_id = project) changed
            WHERE is_retired OR is_defined;
        CONTINUE WHEN entries IS NULL;
        PERFORM append_audit(project, entries);
        IF retired IS NOT NULL THEN
            UPDATE secrets s SET deleted_at = clock_timestamp()
                WHERE s.project_id = project AND s.key = ANY (retired) AND s.deleted_at IS NULL;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER settle AFTER UPDATE ON project_secret_registry REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION settle_keys();

-- In a subscriber rows come from the publisher alone. There every other trigger rests, and this one stands on each table
-- (src/registry/subscriber/); nobody can pretend to be a worker of logical replication, which is known by its process.
CREATE FUNCTION refuse_by_hand() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_stat_get_subscription(NULL) worker WHERE worker.pid = pg_backend_pid()) THEN
        RAISE EXCEPTION 'this registry is a subscriber, and takes no writes: they go to the publisher'
            USING ERRCODE = 'TL403', HINT = 'Name the publisher''s address in --database-url; after the cut-over, its owner runs: tidelock registry subscriber off';
    END IF;
    RETURN NULL;
END $$;

-- Nothing is deleted or emptied; to delete a secret is to set its deleted_at.
CREATE FUNCTION refuse_removal() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are not removed', TG_TABLE_NAME
        USING ERRCODE = 'TL403', HINT = 'A secret is deleted by setting its deleted_at, or with: tidelock secret rm';
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'projects', 'project_revisions', 'revision_log', 'environments',
        'project_secret_registry', 'secrets', 'secret_versions', 'encryption_keys', 'project_hash_keys', 'audit_logs',
        'audit_seals', 'notify_turn'] LOOP
        EXECUTE format('CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal()', name);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER refuse_removal', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['project_members', 'key_exemptions', 'deliveries'] LOOP
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal()', name);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER refuse_truncate', name);
    END LOOP;
END $$;
