-- The audit log: one row per mutation, chained per project, and the triggers of everything but secrets.

-- A link is SHA-256 over, in this order: the byte 1 (the version of this form), the previous link (32 zero bytes before
-- the first row), then the row's fields. Each field is its length in bytes as 4 bytes, then the bytes; NULL is the
-- length -1 alone. Numbers are 8 bytes, times 8 bytes of microseconds since 1970, all big-endian; uuids are their 16
-- bytes; text is UTF-8. The form does not change; seals and proofs of later releases are made over it.
--
-- Without a search path of their own, so that they are inlined; their caller pins it. Declared IMMUTABLE, audit_link would
-- not be: it takes the epoch of a timestamptz, which PostgreSQL calls STABLE.
CREATE FUNCTION audit_field(field bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN field IS NULL THEN E'\\xffffffff'::bytea ELSE int4send(octet_length(field)) || field END
$$;

CREATE FUNCTION audit_link(previous bytea, entry audit_logs) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(E'\\x01'::bytea || previous
        || audit_field(uuid_send(entry.chain))
        || audit_field(int8send(entry.position))
        || audit_field(uuid_send(entry.project_id))
        || audit_field(uuid_send(entry.environment_id))
        || audit_field(uuid_send(entry.user_id))
        || audit_field(convert_to(entry.login, 'UTF8'))
        || audit_field(convert_to(entry.action, 'UTF8'))
        || audit_field(convert_to(entry.subject, 'UTF8'))
        || audit_field(convert_to(entry.old_value_hash, 'UTF8'))
        || audit_field(convert_to(entry.new_value_hash, 'UTF8'))
        || audit_field(convert_to(entry.reason, 'UTF8'))
        || audit_field(int8send(entry.revision))
        || audit_field(int8send((extract(epoch FROM entry."timestamp") * 1000000)::bigint)))
$$;

-- The end of a chain as a row: its position and link, and what all rows that a statement adds there have in common. Under the chain's
-- mutex, so that nobody else adds any.
CREATE FUNCTION end_of_chain(project uuid) RETURNS audit_logs
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    here audit_logs;
    step record;
BEGIN
    here.chain := coalesce(project, '00000000-0000-0000-0000-000000000000');
    here.project_id := project;
    IF project IS NULL THEN
        -- The owner's row is the mutex of the system chain: no login but the owner's can take it.
        PERFORM FROM users WHERE kind = 'owner' ORDER BY id FOR NO KEY UPDATE;
    ELSE
        SELECT revision, transaction, began_at INTO step FROM project_revisions WHERE project_id = project;
        IF (step.transaction, step.began_at) IS DISTINCT FROM (pg_current_xact_id(), now()) THEN
            PERFORM step_revision(project);
            SELECT revision INTO step FROM project_revisions WHERE project_id = project;
        END IF;
        here.revision := step.revision;
    END IF;
    SELECT position, link INTO here.position, here.link FROM audit_logs WHERE chain = here.chain ORDER BY position DESC LIMIT 1;
    here.position := coalesce(here.position, 0);
    here.link := coalesce(here.link, decode(repeat('00', 32), 'hex'));
    here.user_id := require_actor();
    here.login := session_user;
    here.reason := coalesce(current_setting('tidelock.reason', true), '');
    RETURN here;
END $$;

-- Many rows for one project, in the order given, or none: who is asking and where the chain ends is looked up once for all of them.
CREATE FUNCTION append_audit(project uuid, entries audit_entry[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    entry audit_entry;
    added audit_logs;
    rows audit_logs[] := '{}';
BEGIN
    IF coalesce(cardinality(entries), 0) = 0 THEN
        RETURN;
    END IF;
    added := end_of_chain(project);
    FOREACH entry IN ARRAY entries LOOP
        added.position := added.position + 1;
        added.environment_id := entry.environment_id;
        added.action := entry.action;
        added.subject := entry.subject;
        added.old_value_hash := entry.old_value_hash;
        added.new_value_hash := entry.new_value_hash;
        added."timestamp" := clock_timestamp();
        added.link := audit_link(added.link, added);
        rows := array_append(rows, added);
    END LOOP;
    INSERT INTO audit_logs SELECT * FROM unnest(rows);
END $$;

-- Who, when, why and the place in the chain are the database's word, never the writer's. What append_audit has linked already is let
-- through as it is; whoever else brings a link gets another.
CREATE FUNCTION chain_audit_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    previous audit_logs := end_of_chain(NEW.project_id);
BEGIN
    NEW.chain := previous.chain;
    NEW.position := previous.position + 1;
    NEW.user_id := previous.user_id;
    NEW.login := previous.login;
    NEW.reason := previous.reason;
    NEW.revision := previous.revision;
    NEW."timestamp" := clock_timestamp();
    NEW.link := audit_link(previous.link, NEW);
    RETURN NEW;
END $$;
CREATE TRIGGER chain BEFORE INSERT ON audit_logs FOR EACH ROW
    WHEN (NEW.link IS NULL OR current_user <> 'tidelock_definer') EXECUTE FUNCTION chain_audit_row();
ALTER TABLE audit_logs ENABLE ALWAYS TRIGGER chain;

-- What is left of the rows whose subject was purged, in one digest, as 64 hexadecimal digits: SHA-256 over what audit_link makes of
-- each of them, in order, with its own link in place of the one before. The row of the purge has it, so that nobody changes anything else
-- in them, and the chain goes on over their links, which stay.
CREATE FUNCTION audit_digest_of_purged(in_chain uuid, purged text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, @schema@, pg_temp AS $$
    SELECT encode(sha256(string_agg(audit_link(l.link, l), E'\\x'::bytea ORDER BY l.position)), 'hex')
    FROM audit_logs l WHERE l.chain = in_chain AND l.subject = purged AND l.action <> 'key.purge-name'
$$;

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are not changed', TG_TABLE_NAME USING ERRCODE = 'TL403';
END $$;

-- But for the name of a key that is purged, and nothing beside it.
CREATE FUNCTION refuse_rewriting_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    otherwise audit_logs := OLD;
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        -- Also where it would come to no row.
        IF is_being_purged(current_setting('tidelock.purging', true)) THEN
            RETURN NULL;
        END IF;
    ELSE
        otherwise.subject := NEW.subject;
        IF NEW IS NOT DISTINCT FROM otherwise AND OLD.action ~ '^(secret|key)[.]' AND is_being_purged(NEW.subject) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'rows of % are not changed', TG_TABLE_NAME USING ERRCODE = 'TL403';
END $$;
CREATE TRIGGER refuse_rewriting BEFORE UPDATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_audit();
CREATE TRIGGER refuse_rewriting_row BEFORE UPDATE ON audit_logs FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_audit();
CREATE TRIGGER refuse_rewriting BEFORE UPDATE ON audit_seals FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER refuse_rewriting BEFORE UPDATE ON revision_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE audit_logs ENABLE ALWAYS TRIGGER refuse_rewriting;
ALTER TABLE audit_logs ENABLE ALWAYS TRIGGER refuse_rewriting_row;
ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER refuse_rewriting;
ALTER TABLE revision_log ENABLE ALWAYS TRIGGER refuse_rewriting;

CREATE FUNCTION audit_users() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    INSERT INTO audit_logs (action, subject)
        VALUES (CASE WHEN TG_OP = 'INSERT' THEN 'user.add'
                     WHEN NEW.disabled_at IS NOT NULL AND OLD.disabled_at IS NULL THEN 'user.disable'
                     WHEN NEW.disabled_at IS NULL AND OLD.disabled_at IS NOT NULL THEN 'user.enable'
                     WHEN NEW.db_role = OLD.db_role AND NEW.db_role_oid IS DISTINCT FROM OLD.db_role_oid THEN 'user.confirm'
                     ELSE 'user.update' END,
                NEW.name || coalesce(' as ' || NEW.db_role, '') || ' (' || NEW.kind || ')');
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION audit_users();

-- A new project has its counter, its first member and its first audit row from the start.
CREATE FUNCTION @api@.create_project(name text, reason text DEFAULT '') RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    acting uuid := require_actor();
    made uuid;
BEGIN
    IF (SELECT kind FROM users WHERE id = acting) <> 'person' THEN
        RAISE EXCEPTION 'only a person creates a project, and login % is none', session_user USING ERRCODE = 'TL403';
    END IF;
    PERFORM set_config('tidelock.reason', coalesce(create_project.reason, ''), true);
    PERFORM set_config('tidelock.begun', pg_current_xact_id()::text, true);
    INSERT INTO projects (name) VALUES (create_project.name) RETURNING id INTO made;
    WITH first AS (
        INSERT INTO project_revisions (project_id, revision, transaction, began_at, changed_at)
            VALUES (made, 1, pg_current_xact_id(), now(), statement_timestamp()) RETURNING *)
    INSERT INTO revision_log SELECT project_id, revision, token, changed_at FROM first;
    INSERT INTO audit_logs (project_id, action, subject) VALUES (made, 'project.create', create_project.name);
    INSERT INTO project_members (project_id, user_id, role) VALUES (made, acting, 'ADMIN');
    RETURN made;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'a project named % exists', create_project.name USING ERRCODE = 'TL409';
END $$;

-- Production has a ring of its own: who holds only another environment's must not open production from any dump. Deleted
-- environments count, as their rows are still there. Under the project's mutex.
CREATE FUNCTION require_ring_apart(environment environments) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    IF environment.ring = (CASE WHEN environment.is_production THEN 'default' ELSE 'production' END)
            OR EXISTS (SELECT FROM environments e WHERE e.project_id = environment.project_id AND e.ring = environment.ring
                       AND e.is_production <> environment.is_production AND e.id <> environment.id) THEN
        RAISE EXCEPTION 'ring % is for environments that are %, so % cannot use it', environment.ring,
                CASE WHEN environment.is_production THEN 'not production' ELSE 'production' END, environment.name
            USING ERRCODE = 'TL403', HINT = 'Name another ring with --ring; tidelock keyring init --ring NAME makes one.';
    END IF;
END $$;

CREATE FUNCTION guard_environment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    step_time timestamptz;
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.ring := coalesce(NEW.ring, CASE WHEN NEW.is_production THEN 'production' ELSE 'default' END);
        PERFORM step_revision(NEW.project_id);
        PERFORM require_ring_apart(NEW);
        RETURN NEW;
    END IF;
    IF (NEW.is_production, NEW.ring, NEW.deleted_at) IS NOT DISTINCT FROM (OLD.is_production, OLD.ring, OLD.deleted_at) THEN
        RETURN NEW;
    END IF;
    -- Under the mutex, or a secret could arrive between the look and the commit.
    step_time := step_revision(NEW.project_id);
    IF (NEW.is_production, NEW.ring) IS DISTINCT FROM (OLD.is_production, OLD.ring)
            AND (EXISTS (SELECT FROM secrets WHERE environment_id = OLD.id AND deleted_at IS NULL)
                OR EXISTS (SELECT FROM secrets WHERE environment_id = OLD.id AND deleted_at IS NOT NULL)) THEN
        RAISE EXCEPTION 'environment % has held secrets, so it stays % and on ring %', OLD.name,
                CASE WHEN OLD.is_production THEN 'production' ELSE 'non-production' END, OLD.ring
            USING ERRCODE = 'TL403', HINT = 'Create another environment.';
    END IF;
    PERFORM require_ring_apart(NEW);
    NEW.deleted_at := CASE WHEN NEW.deleted_at IS NOT NULL THEN coalesce(OLD.deleted_at, step_time) END;
    RETURN NEW;
END $$;
CREATE TRIGGER mutex BEFORE INSERT OR UPDATE ON environments FOR EACH STATEMENT EXECUTE FUNCTION take_mutex();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON environments FOR EACH ROW EXECUTE FUNCTION guard_environment();

CREATE FUNCTION audit_environments() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    INSERT INTO audit_logs (project_id, environment_id, action, subject)
        VALUES (NEW.project_id, NEW.id,
                CASE WHEN TG_OP = 'INSERT' THEN 'environment.create'
                     WHEN NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN 'environment.delete'
                     WHEN NEW.deleted_at IS NULL AND OLD.deleted_at IS NOT NULL THEN 'environment.restore' ELSE 'environment.update' END,
                NEW.name || CASE WHEN NEW.is_production THEN ' (production)' ELSE '' END || ' on ring ' || NEW.ring);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_insert AFTER INSERT ON environments FOR EACH ROW EXECUTE FUNCTION audit_environments();
CREATE TRIGGER audit_update AFTER UPDATE ON environments FOR EACH ROW
    -- Spelled out: of a comparison of rows a dump makes another expression, which means the same.
    WHEN (NEW.is_production IS DISTINCT FROM OLD.is_production OR NEW.ring IS DISTINCT FROM OLD.ring
          OR NEW.deleted_at IS DISTINCT FROM OLD.deleted_at)
    EXECUTE FUNCTION audit_environments();

CREATE FUNCTION audit_members() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    member project_members := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM step_revision(member.project_id, TG_OP = 'DELETE');
    IF TG_WHEN = 'BEFORE' THEN
        RETURN member;
    END IF;
    IF TG_OP <> 'INSERT' AND NOT EXISTS (
            SELECT FROM project_members m JOIN users u ON u.id = m.user_id
            WHERE m.project_id = member.project_id AND m.role = 'ADMIN' AND NOT m.read_only AND m.only_environments IS NULL
              AND m.expires_at IS NULL AND u.kind = 'person' AND u.disabled_at IS NULL) THEN
        RAISE EXCEPTION 'a project keeps at least one ADMIN who is a person' USING ERRCODE = 'TL403';
    END IF;
    INSERT INTO audit_logs (project_id, action, subject)
        SELECT member.project_id,
               CASE TG_OP WHEN 'INSERT' THEN 'member.add' WHEN 'DELETE' THEN 'member.remove' ELSE 'member.update' END,
               u.name || ' ' || member.role || CASE WHEN member.read_only THEN ' read-only' ELSE '' END
                   || coalesce(' only ' || array_to_string(member.only_environments, ','), '')
                   || coalesce(' until ' || to_char(member.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')
        FROM users u WHERE u.id = member.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER mutex BEFORE INSERT OR UPDATE OR DELETE ON project_members FOR EACH STATEMENT EXECUTE FUNCTION take_mutex();
-- Whoever takes their own membership away is a member until then.
CREATE TRIGGER step BEFORE UPDATE OR DELETE ON project_members FOR EACH ROW EXECUTE FUNCTION audit_members();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON project_members FOR EACH ROW EXECUTE FUNCTION audit_members();

CREATE FUNCTION audit_exemptions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    exemption key_exemptions := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM step_revision(exemption.project_id);
    PERFORM require_reason(CASE TG_OP WHEN 'DELETE' THEN current_setting('tidelock.reason', true) ELSE exemption.reason END,
        'an exemption from key ' || exemption.key_name || CASE TG_OP WHEN 'DELETE' THEN ' that is taken back' ELSE '' END);
    INSERT INTO audit_logs (project_id, environment_id, action, subject)
        VALUES (exemption.project_id, exemption.environment_id,
                CASE TG_OP WHEN 'DELETE' THEN 'key.unexempt' ELSE 'key.exempt' END, exemption.key_name);
    RETURN NULL;
END $$;
CREATE TRIGGER mutex BEFORE INSERT OR UPDATE OR DELETE ON key_exemptions FOR EACH STATEMENT EXECUTE FUNCTION take_mutex();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON key_exemptions FOR EACH ROW EXECUTE FUNCTION audit_exemptions();

CREATE FUNCTION audit_hash_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
BEGIN
    INSERT INTO audit_logs (project_id, action, subject)
        VALUES (NEW.project_id, 'hashkey.add', NEW.hash_key_id || ' on ring ' || NEW.ring);
    -- Its text tells every member the id of the ring's encryption key: nobody shall be first to use that elsewhere.
    PERFORM claim_encryption_key(sealed_under(NEW.sealed), NEW.ring);
    RETURN NULL;
END $$;
CREATE TRIGGER mutex BEFORE INSERT ON project_hash_keys FOR EACH STATEMENT EXECUTE FUNCTION take_mutex();
CREATE TRIGGER audit AFTER INSERT ON project_hash_keys FOR EACH ROW EXECUTE FUNCTION audit_hash_keys();

-- Another hashing key is the newest from here on, whatever the clock does, and has every hash rewritten.
CREATE FUNCTION stamp_hash_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    newest text := newest_hash_key(NEW.project_id);
BEGIN
    PERFORM FROM project_revisions WHERE project_id = NEW.project_id FOR NO KEY UPDATE;
    NEW.created_at := greatest(clock_timestamp(), (SELECT max(k.created_at) + interval '1 microsecond'
                                                   FROM project_hash_keys k WHERE k.project_id = NEW.project_id));
    IF newest <> NEW.hash_key_id THEN
        PERFORM require_reason(current_setting('tidelock.reason', true), 'another hashing key for the project');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT ON project_hash_keys FOR EACH ROW EXECUTE FUNCTION stamp_hash_key();

CREATE FUNCTION @api@.archive_project(project text, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, @schema@, pg_temp AS $$
DECLARE
    target uuid := @api@.begin_change(project, reason);
BEGIN
    IF NOT is_administrator(target) THEN
        RAISE EXCEPTION 'only an ADMIN archives a project' USING ERRCODE = 'TL403';
    END IF;
    INSERT INTO audit_logs (project_id, action, subject) VALUES (target, 'project.archive', project);
    UPDATE projects SET archived_at = clock_timestamp() WHERE id = target;
END $$;

DO $$
DECLARE
    guard record;
BEGIN
    FOR guard IN SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND NOT t.tgisinternal AND t.tgenabled <> 'A' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', guard.relname, guard.tgname);
    END LOOP;
END $$;
